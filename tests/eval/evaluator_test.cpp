// Evaluation of the bundled model on a text that ships with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/json.h"
#include "seer/eval.h"
#include "seer/report.h"
#include "support/model_files.h"

namespace seer {
namespace {

const std::filesystem::path kBooks =
    std::filesystem::path(SEER_SOURCE_DIR) / "models" / "books-19m-32k";

struct Books {
  ModelConfig config = read_model_config(kBooks);
  Checkpoint checkpoint = Checkpoint::open(kBooks);
  Model model = Model(config, checkpoint, {});
  Tokenizer tokenizer = Tokenizer::load(kBooks);
  // 385 tokens.
  TokenStream text;

  Books() {
    text.tokens.push_back(0);
    const Json reference = read_json_file(kBooks / "reference.json");
    for (const Json& id : reference["input_ids"]) {
      text.tokens.push_back(id.get<std::int32_t>());
    }
    text.documents = 1;
  }
};

Books& books() {
  static Books the_books;
  return the_books;
}

EvalOptions small(EvalTask task, std::vector<std::string> policies) {
  EvalOptions options;
  options.task = task;
  options.policies = std::move(policies);
  options.contexts = {128};
  options.samples = 2;
  options.block_size = 16;
  options.prefill_chunk = 48;
  return options;
}

std::vector<EvalSample> run(const EvalOptions& options, const std::vector<EvalSample>& done = {},
                            const GateSet* gates = nullptr) {
  Evaluator evaluator(books().model, &books().tokenizer, books().text, gates,
                      gates != nullptr ? "gates@1" : "", options);
  std::vector<EvalSample> samples;
  EvalCallbacks callbacks;
  callbacks.on_sample = [&](const EvalSample& sample) { samples.push_back(sample); };
  evaluator.run(done, callbacks);
  return samples;
}

std::string refusal(const EvalOptions& options, const GateSet* gates = nullptr) {
  try {
    run(options, {}, gates);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

void expect_refused(const EvalOptions& options, const std::vector<std::string>& words) {
  const std::string message = refusal(options);
  for (const std::string& word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << message << " / " << word;
  }
}

TEST(Evaluator, DensePerplexityIsThatOfAnotherImplementation) {
  const std::vector<EvalSample> samples = run(small(EvalTask::kPerplexity, {"dense"}));
  ASSERT_EQ(samples.size(), 2U);
  // A decoder written out in PyTorch, float32, on the same two windows (from tokens 0 and 128). The tolerance is of sums
  // in float32 in another order.
  EXPECT_NEAR(*samples[0].nll, 4.595599, 1e-4);
  EXPECT_NEAR(*samples[1].nll, 4.352999, 1e-4);
  EXPECT_NEAR(*summarise(samples)[0].perplexity, 87.7331, 0.01);
  EXPECT_EQ(samples[0].density, 1.0);
  EXPECT_EQ(*samples[0].recall, 1.0);
  EXPECT_GT(samples[0].seconds, 0);
}

TEST(Evaluator, EveryPolicyInOneRun) {
  const GateSet gates = [] {
    GateSet set(default_gate_config("Qavg_Kmaxminavg", books().config, 16), books().config);
    set.initialise(GateInit::kIdentity, 1);
    return set;
  }();
  const std::vector<std::string> policies = {"dense",
                                             "gate:ratio=0.3,sink=1,local=1",
                                             "oracle:ratio=0.3",
                                             "streaming:ratio=0.3",
                                             "meanpool:mass=0.9",
                                             "random:ratio=0.3",
                                             "gate:threshold=0"};
  const std::vector<EvalSample> samples = run(small(EvalTask::kPerplexity, policies), {}, &gates);
  ASSERT_EQ(samples.size(), 2 * policies.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const EvalSample& sample = samples[i];
    SCOPED_TRACE(sample.policy);
    // Policies take turns.
    EXPECT_EQ(sample.policy, policies[i % policies.size()]);
    EXPECT_EQ(sample.sample, static_cast<std::int64_t>(i / policies.size()));
    EXPECT_EQ(sample.gates, sample.policy.starts_with("gate") ? "gates@1" : "");
    EXPECT_EQ(sample.layer_density.size(), 10U);
    EXPECT_GT(*sample.recall, 0);
    EXPECT_LE(*sample.recall, 1 + 1e-6);
    EXPECT_EQ(EvalSample::parse(sample.to_json(), "line").to_json(), sample.to_json());
    if (i % policies.size() > 0 && sample.policy != "gate:threshold=0") {
      EXPECT_LT(sample.density, 1);
    }
  }
  // Everything kept is dense.
  EXPECT_EQ(samples.back().density, 1);
  EXPECT_NEAR(*samples.back().nll, *samples[policies.size()].nll, 1e-4);
  EXPECT_NEAR(*samples.back().recall, 1, 1e-5);
}

TEST(Evaluator, GoesOnWhereItStopped) {
  const EvalOptions options =
      small(EvalTask::kPerplexity, {"dense", "streaming:ratio=0.3", "random:ratio=0.3"});
  const std::vector<EvalSample> whole = run(options);
  ASSERT_EQ(whole.size(), 6U);
  const std::vector<EvalSample> first(whole.begin(), whole.begin() + 2);
  const std::vector<EvalSample> rest = run(options, first);
  ASSERT_EQ(rest.size(), 4U);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    EXPECT_TRUE(rest[i].is_same(whole[i + 2]));
    EXPECT_EQ(rest[i].nll, whole[i + 2].nll);
    EXPECT_EQ(rest[i].recall, whole[i + 2].recall);
    EXPECT_EQ(rest[i].configuration, whole[i + 2].configuration);
  }
  EXPECT_TRUE(run(options, whole).empty());
}

TEST(Evaluator, Retrieval) {
  EvalOptions options = small(EvalTask::kRetrieval, {"dense", "random:ratio=0.1"});
  options.contexts = {256};
  options.samples = 4;
  options.prefill_chunk = 256;
  const std::vector<EvalSample> samples = run(options);
  ASSERT_EQ(samples.size(), 8U);
  const std::vector<EvalSummary> summaries = summarise(samples);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].policy, "dense");
  // The model does this well; blocks at random do not.
  EXPECT_GE(*summaries[0].retrieval, 0.75);
  EXPECT_LT(*summaries[1].retrieval, 0.5);
  EXPECT_GE(*summaries[1].answer_tokens, 0);
  EXPECT_FALSE(samples[0].nll.has_value());
}

TEST(Evaluator, RecallHasNoScore) {
  const std::vector<EvalSample> samples = run(small(EvalTask::kRecall, {"oracle:ratio=0.3"}));
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_FALSE(samples[0].nll.has_value());
  EXPECT_GT(*samples[0].recall, 0.3);
  EXPECT_LT(*samples[0].recall, 1.0);
}

TEST(Evaluator, Progress) {
  EvalOptions options = small(EvalTask::kPerplexity, {"dense"});
  options.samples = 3;
  Evaluator evaluator(books().model, nullptr, books().text, nullptr, "", options);
  std::vector<std::int64_t> done;
  EvalCallbacks callbacks;
  callbacks.on_progress = [&](const EvalProgress& progress) {
    done.push_back(progress.done);
    EXPECT_EQ(progress.total, 3);
    EXPECT_GE(progress.seconds_left, 0);
  };
  evaluator.run({}, callbacks);
  EXPECT_EQ(done, (std::vector<std::int64_t>{0, 1, 2, 3}));
  callbacks.between_chunks = [] { throw std::runtime_error("stop"); };
  EXPECT_THROW(evaluator.run({}, callbacks), std::runtime_error);
}

TEST(Evaluator, Refusals) {
  const EvalOptions good = small(EvalTask::kPerplexity, {"dense"});
  EvalOptions options = good;
  options.contexts = {400};
  expect_refused(options, {"385 tokens are fewer than the 401"});
  options.contexts = {65536};
  expect_refused(options, {"context 65536", "32768"});
  options.contexts = {64, 64};
  expect_refused(options, {"context 64", "twice"});
  options = good;
  options.policies = {"gate:ratio=0.1"};
  expect_refused(options, {"gate:ratio=0.1", "--gates"});
  options.policies = {"dense", "dense"};
  expect_refused(options, {"'dense'", "twice"});
  options.policies = {"streaming:ratio=2"};
  expect_refused(options, {"streaming:ratio=2"});
  options.policies = {};
  expect_refused(options, {"policies"});
  options = good;
  options.samples = 0;
  expect_refused(options, {"windows 0"});
  options = small(EvalTask::kRetrieval, {"dense"});
  options.contexts = {64};
  expect_refused(options, {"64 tokens", "alone take more"});
  options.contexts = {1024};
  expect_refused(options, {"text: 385 tokens are fewer"});
}

TEST(Evaluator, CalibrationMustReachTheContexts) {
  GateSet gates(default_gate_config("Qavg_Kmaxminavg", books().config, 16), books().config);
  EvalOptions options = small(EvalTask::kPerplexity, {"gate:density=0.1"});
  const std::string without = refusal(options, &gates);
  EXPECT_NE(without.find("seer calibrate"), std::string::npos) << without;
  CalibrationTable table;
  table.rows = {{.length = 8192, .density = 0.1, .thresholds = {0.01}}};
  gates.set_calibration(table);
  const std::string elsewhere = refusal(options, &gates);
  EXPECT_NE(elsewhere.find("'gate:density=0.1', context 128"), std::string::npos) << elsewhere;
  // Not looked at where everything is dense.
  options.min_context = 129;
  EXPECT_EQ(refusal(options, &gates), "");
}

TEST(BlockMapsOfAModel, ChosenAndGivenHeads) {
  const std::vector<TokenId> tokens(books().text.tokens.begin(), books().text.tokens.begin() + 320);
  BlockMapOptions options;
  options.policy = "oracle:ratio=0.3";
  options.block_size = 16;
  const std::vector<BlockMaps> chosen = record_block_maps(books().model, nullptr, tokens, options);
  ASSERT_EQ(chosen.size(), 4U);
  EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end(),
                             [](const auto& a, const auto& b) { return a.layer < b.layer; }));
  for (const BlockMaps& maps : chosen) {
    EXPECT_EQ(maps.truth.sizes(), (std::vector<std::int64_t>{20, 20}));
    EXPECT_NEAR(maps.truth.sum().item<double>(), 20, 1e-3);
    EXPECT_FALSE(maps.predicted.defined());
    EXPECT_GT(maps.kept_share, maps.density);  // the oracle keeps what is large
    EXPECT_LE(maps.kept_share, 1);
  }
  options.heads = {{3, 1}, {0, 5}};
  options.policy = "dense";
  const std::vector<BlockMaps> given = record_block_maps(books().model, nullptr, tokens, options);
  ASSERT_EQ(given.size(), 2U);
  EXPECT_EQ(given[0].layer, 0);
  EXPECT_EQ(given[0].head, 5);
  EXPECT_NEAR(given[1].density, 1, 1e-9);
  EXPECT_NEAR(given[1].kept_share, 1, 1e-5);
  options.heads = {{10, 0}};
  EXPECT_THROW(record_block_maps(books().model, nullptr, tokens, options), std::invalid_argument);
}

}  // namespace
}  // namespace seer
