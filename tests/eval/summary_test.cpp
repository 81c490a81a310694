// Means, medians and ratios over samples.
#include <gtest/gtest.h>

#include <cmath>

#include "sample_files.h"
#include "seer/eval_results.h"

namespace seer {
namespace {

using test::made_up_sample;

TEST(Summary, MeansAndPairedRatios) {
  std::vector<EvalSample> samples;
  for (const std::int64_t index : {0, 1, 2}) {
    const double slow = index == 1 ? 10 : 1;  // a slow minute of the machine meets both alike
    samples.push_back(made_up_sample("streaming:ratio=0.1", 64, index, 0.1, 0.5 * slow));
    samples.push_back(made_up_sample("dense", 64, index, 1, 1.5 * slow));
  }
  samples.push_back(made_up_sample("dense", 32, 0, 1, 0.25));
  const std::vector<EvalSummary> summaries = summarise(samples);
  ASSERT_EQ(summaries.size(), 3U);
  EXPECT_EQ(summaries[0].context, 32);
  EXPECT_EQ(summaries[1].policy, "streaming:ratio=0.1");
  EXPECT_EQ(summaries[2].policy, "dense");
  EXPECT_EQ(summaries[2].samples, 3);
  EXPECT_NEAR(*summaries[2].score, std::exp(4.1), 1e-9);
  // Of 4.0, 4.1 and 4.2: a spread of 0.1.
  EXPECT_NEAR(*summaries[2].standard_error, std::exp(4.1) * 0.1 / std::sqrt(3), 1e-9);
  EXPECT_FALSE(summaries[0].standard_error.has_value());
  EXPECT_NEAR(summaries[1].density, 0.1, 1e-12);
  EXPECT_NEAR(*summaries[1].recall, 0.73, 1e-12);
  ASSERT_EQ(summaries[1].layer_density.size(), 2U);
  EXPECT_NEAR(summaries[1].layer_density[1], 0.1, 1e-12);
  ASSERT_EQ(summaries[1].head_density.size(), 2U);
  EXPECT_NEAR(summaries[1].head_density[0][1], 0.15, 1e-12);
  EXPECT_DOUBLE_EQ(summaries[1].seconds, 0.5);
  EXPECT_DOUBLE_EQ(*summaries[1].speedup, 3);
  EXPECT_DOUBLE_EQ(*summaries[2].speedup, 1);
}

TEST(Summary, NoRatioBetweenRuns) {
  std::vector<EvalSample> samples = {made_up_sample("dense", 64, 0, 1, 2),
                                     made_up_sample("streaming:ratio=0.1", 64, 0, 0.1, 1)};
  samples[1].origin.started = "later";
  EXPECT_FALSE(summarise(samples)[1].speedup.has_value());
}

TEST(Summary, RetrievalAndGatesApart) {
  std::vector<EvalSample> samples;
  for (const char* const gates : {"a@1", "b@2"}) {
    for (const std::int64_t index : {0, 1}) {
      EvalSample sample =
          test::made_up_retrieval("gate:ratio=0.1", 64, index, index == 0 || gates[0] == 'b');
      sample.gates = gates;
      samples.push_back(sample);
    }
  }
  const std::vector<EvalSummary> summaries = summarise(samples);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].metric, "retrieval");
  EXPECT_EQ(*summaries[0].score, 0.5);
  EXPECT_EQ(*summaries[0].standard_error, 0.5);
  EXPECT_EQ(*summaries[0].answer_tokens, 0.75);
  EXPECT_EQ(*summaries[1].score, 1.0);
  const std::string table = eval_table(summaries);
  EXPECT_NE(table.find("50.0 +-50.0 %"), std::string::npos) << table;
  EXPECT_NE(table.find("0.1000"), std::string::npos) << table;
}

TEST(Summary, TasksStandAsTheyCome) {
  const std::vector<EvalSummary> summaries =
      summarise({test::made_up_answer("z", "dense", 0, 1), made_up_sample("dense", 64, 0, 1, 1),
                 test::made_up_answer("z", "dense", 1, 0)});
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].task, "z");
  EXPECT_EQ(summaries[0].samples, 2);
  EXPECT_EQ(summaries[0].decode_seconds, 0.25);
}

TEST(Summary, Subsets) {
  std::vector<EvalSample> samples;
  for (const std::int64_t index : {0, 1, 2, 3}) {
    samples.push_back(test::made_up_answer("longbench/a", "dense", index, index == 3 ? 1 : 0));
    if (index > 0) samples.back().subset = index == 1 ? "4-8k" : "0-4k";
  }
  const std::vector<EvalSummary> parts = summarise(samples, SummaryParts::kSubsets);
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].subset, "0-4k");
  EXPECT_EQ(parts[0].samples, 2);
  EXPECT_EQ(*parts[0].score, 0.5);
  EXPECT_EQ(parts[1].subset, "4-8k");
  EXPECT_EQ(*parts[1].score, 0);
  ASSERT_EQ(summarise(samples).size(), 1U);
  EXPECT_EQ(*summarise(samples)[0].score, 0.25);
}

TEST(Summary, MeanOfAFamilyNeedsAllItsTasks) {
  std::vector<EvalSample> samples;
  for (const std::int64_t index : {0, 1}) {
    samples.push_back(test::made_up_answer("ruler/vt", "dense", index, index == 0 ? 1 : 0));
    samples.push_back(test::made_up_answer("ruler/cwe", "dense", index, 1));
  }
  samples.push_back(test::made_up_answer("ruler/vt", "oracle:ratio=0.1", 0, 1));
  samples.push_back(test::made_up_answer("longbench/alone", "dense", 0, 1));
  samples.push_back(made_up_sample("dense", 4096, 0, 1, 1));
  const std::vector<EvalSummary> means = family_means(summarise(samples));
  ASSERT_EQ(means.size(), 1U);
  EXPECT_EQ(means[0].task, "ruler/mean");
  EXPECT_EQ(means[0].policy, "dense");
  EXPECT_EQ(means[0].samples, 4);
  EXPECT_EQ(*means[0].score, 0.75);
  EXPECT_EQ(*means[0].standard_error, 0.25);  // sqrt(0.5^2 + 0^2) / 2
}

TEST(Summary, Depths) {
  std::vector<EvalSample> samples;
  for (const std::int64_t index : {0, 1, 2, 3}) {
    samples.push_back(test::made_up_retrieval("dense", 64, index, index != 2));
    samples.back().depth = static_cast<double>(index % 2);
  }
  samples.push_back(test::made_up_retrieval("dense", 64, 4, true));
  const std::vector<DepthScore> scores = depth_scores(samples);
  ASSERT_EQ(scores.size(), 2U);
  EXPECT_EQ(scores[0].depth, 0);
  EXPECT_EQ(scores[0].score, 0.5);
  EXPECT_EQ(scores[1].score, 1);
  EXPECT_EQ(scores[1].samples, 2);
}

TEST(Summary, Csv) {
  EvalSample sample = test::made_up_answer("a,\"b\"", "gate:ratio=0.1,sink=1", 0, 0.5);
  sample.peak_memory = 1024;
  EXPECT_EQ(
      eval_csv(summarise({sample})),
      "task,metric,subset,context,policy,gates,samples,score,standard_error,answer_tokens,"
      "recall,density,seconds,decode_seconds,speedup,peak_memory\n"
      "\"a,\"\"b\"\"\",string_match_all,,4096,\"gate:ratio=0.1,sink=1\",,1,0.5,,,0.73,0.1,1,0.25,,"
      "1024\n");
}

TEST(Summary, Nothing) {
  EXPECT_TRUE(summarise({}).empty());
}

}  // namespace
}  // namespace seer
