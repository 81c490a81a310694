// Means, medians and ratios over samples.
#include <gtest/gtest.h>

#include <cmath>

#include "sample_files.h"
#include "seer/eval.h"

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
  EXPECT_NEAR(*summaries[2].perplexity, std::exp(4.1), 1e-9);
  EXPECT_NEAR(summaries[1].density, 0.1, 1e-12);
  EXPECT_NEAR(*summaries[1].recall, 0.73, 1e-12);
  ASSERT_EQ(summaries[1].layer_density.size(), 2U);
  EXPECT_NEAR(summaries[1].layer_density[1], 0.1, 1e-12);
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
      EvalSample sample = made_up_sample("gate:ratio=0.1", 64, index, 0.1, 1);
      sample.task = EvalTask::kRetrieval;
      sample.nll.reset();
      sample.gates = gates;
      sample.retrieved = index == 0 || gates[0] == 'b';
      sample.answer_tokens = *sample.retrieved ? 1.0 : 0.5;
      samples.push_back(sample);
    }
  }
  const std::vector<EvalSummary> summaries = summarise(samples);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(*summaries[0].retrieval, 0.5);
  EXPECT_EQ(*summaries[0].answer_tokens, 0.75);
  EXPECT_EQ(*summaries[1].retrieval, 1.0);
  EXPECT_FALSE(summaries[0].perplexity.has_value());
  const std::string table = eval_table(summaries);
  EXPECT_NE(table.find("50 %"), std::string::npos) << table;
  EXPECT_NE(table.find("0.1000"), std::string::npos) << table;
}

TEST(Summary, Nothing) {
  EXPECT_TRUE(summarise({}).empty());
}

}  // namespace
}  // namespace seer
