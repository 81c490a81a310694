// Evaluation of the bundled model on a text that ships with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/json.h"
#include "seer/eval_results.h"
#include "seer/generate.h"
#include "seer/perplexity_tasks.h"
#include "seer/report.h"
#include "seer/retrieval_tasks.h"
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
  std::shared_ptr<const TokenStream> text;  // 385 tokens

  Books() {
    TokenStream stream;
    stream.tokens.push_back(0);
    const Json reference = read_json_file(kBooks / "reference.json");
    for (const Json& id : reference["input_ids"]) {
      stream.tokens.push_back(id.get<std::int32_t>());
    }
    stream.documents = 1;
    text = std::make_shared<const TokenStream>(std::move(stream));
  }
};

Books& books() {
  static Books the_books;
  return the_books;
}

// An evaluation of one task.
struct Case {
  EvalRequest request;
  EvalOptions options;
};

Case small(std::shared_ptr<const EvalTask> task, std::vector<std::string> policies) {
  Case one;
  one.request = {.task = std::move(task), .contexts = {128}};
  one.options.policies = std::move(policies);
  one.options.block_size = 16;
  one.options.prefill_chunk = 48;
  return one;
}

Case perplexity(std::vector<std::string> policies, std::int64_t windows = 2) {
  return small(make_window_perplexity(books().text, 0, windows), std::move(policies));
}

Case retrieval(std::vector<std::string> policies, std::int64_t documents) {
  NeedleTaskOptions options;
  options.samples = documents;
  Case one =
      small(make_needle_task(books().text, books().tokenizer, 0, options), std::move(policies));
  one.request.contexts = {256};
  one.options.prefill_chunk = 256;
  return one;
}

std::vector<EvalSample> run(const std::vector<EvalRequest>& requests, const EvalOptions& options,
                            const std::vector<EvalSample>& done = {},
                            const GateSet* gates = nullptr) {
  Evaluator evaluator(books().model, &books().tokenizer, gates, gates != nullptr ? "gates@1" : "",
                      requests, options);
  std::vector<EvalSample> samples;
  EvalCallbacks callbacks;
  callbacks.on_sample = [&](const EvalSample& sample) { samples.push_back(sample); };
  evaluator.run(done, callbacks);
  return samples;
}

std::vector<EvalSample> run(const Case& one, const std::vector<EvalSample>& done = {},
                            const GateSet* gates = nullptr) {
  return run({one.request}, one.options, done, gates);
}

std::string refusal(const std::vector<EvalRequest>& requests, const EvalOptions& options,
                    const GateSet* gates = nullptr) {
  try {
    run(requests, options, {}, gates);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

void expect_refused(const Case& one, const std::vector<std::string>& words) {
  const std::string message = refusal({one.request}, one.options);
  for (const std::string& word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << message << " / " << word;
  }
}

// Copies out numbers: generates, and scores by the share of the reference's characters that came.
class CopyTask final : public EvalTask {
 public:
  std::string name() const override { return "copy"; }
  std::string metric() const override { return "prefix"; }
  std::string settings() const override { return R"({"seed":7})"; }
  std::int64_t samples(std::int64_t) const override { return 2; }
  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    EvalPrompt prompt;
    prompt.max_new_tokens = 6;
    const auto first = books().text->tokens.begin() + 100 * index;
    prompt.tokens.assign(first, first + context - prompt.max_new_tokens);
    prompt.references = {"the"};
    prompt.depth = 0.5;
    prompt.subset = index == 0 ? "even" : "odd";
    return prompt;
  }
  double score(const EvalPrompt&, std::string_view prediction) const override {
    return prediction.empty() ? 0 : 0.25;
  }
};

TEST(Evaluator, DensePerplexityIsThatOfAnotherImplementation) {
  const std::vector<EvalSample> samples = run(perplexity({"dense"}));
  ASSERT_EQ(samples.size(), 2U);
  // A decoder written out in PyTorch, float32, on the same two windows (from tokens 0 and 128). The tolerance is of sums
  // in float32 in another order.
  EXPECT_NEAR(*samples[0].nll, 4.595599, 1e-4);
  EXPECT_NEAR(*samples[1].nll, 4.352999, 1e-4);
  EXPECT_NEAR(*summarise(samples)[0].score, 87.7331, 0.01);
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
  const std::vector<EvalSample> samples = run(perplexity(policies), {}, &gates);
  ASSERT_EQ(samples.size(), 2 * policies.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const EvalSample& sample = samples[i];
    SCOPED_TRACE(sample.policy);
    // Policies take turns.
    EXPECT_EQ(sample.policy, policies[i % policies.size()]);
    EXPECT_EQ(sample.sample, static_cast<std::int64_t>(i / policies.size()));
    EXPECT_EQ(sample.gates, sample.policy.starts_with("gate") ? "gates@1" : "");
    EXPECT_EQ(sample.layer_density.size(), 10U);
    ASSERT_EQ(sample.head_density.size(), 10U);
    // Heads' shares make up their layer's.
    for (std::size_t layer = 0; layer < 10; ++layer) {
      double sum = 0;
      for (const double share : sample.head_density[layer]) sum += share;
      EXPECT_NEAR(sum / 6, sample.layer_density[layer], 1e-9);
    }
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
  const Case options = perplexity({"dense", "streaming:ratio=0.3", "random:ratio=0.3"});
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
  const std::vector<EvalSample> samples = run(retrieval({"dense", "random:ratio=0.1"}, 4));
  ASSERT_EQ(samples.size(), 8U);
  const std::vector<EvalSummary> summaries = summarise(samples);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].policy, "dense");
  // The model does this well; blocks at random do not.
  EXPECT_GE(*summaries[0].score, 0.75);
  EXPECT_LT(*summaries[1].score, 0.5);
  EXPECT_GE(*summaries[1].answer_tokens, 0);
  EXPECT_FALSE(samples[0].nll.has_value());
}

TEST(Evaluator, RecallHasNoScore) {
  const std::vector<EvalSample> samples =
      run(small(make_window_recall(books().text, 0, 2), {"oracle:ratio=0.3"}));
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_FALSE(samples[0].nll.has_value());
  EXPECT_GT(*samples[0].recall, 0.3);
  EXPECT_LT(*samples[0].recall, 1.0);
}

TEST(Evaluator, Progress) {
  const Case one = perplexity({"dense"}, 3);
  Evaluator evaluator(books().model, nullptr, nullptr, "", {one.request}, one.options);
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
  Case one = perplexity({"dense"});
  one.request.contexts = {400};
  expect_refused(one, {"385 tokens are fewer than the 401"});
  one.request.contexts = {65536};
  expect_refused(one, {"context 65536", "32768"});
  one.request.contexts = {64, 64};
  expect_refused(one, {"context 64", "twice"});
  one.request.contexts = {};
  expect_refused(one, {"contexts"});
  expect_refused(perplexity({"gate:ratio=0.1"}), {"gate:ratio=0.1", "--gates"});
  expect_refused(perplexity({"dense", "dense"}), {"'dense'", "twice"});
  expect_refused(perplexity({"streaming:ratio=2"}), {"streaming:ratio=2"});
  expect_refused(perplexity({}), {"policies"});
  one = retrieval({"dense"}, 2);
  one.request.contexts = {64};
  expect_refused(one, {"64 tokens", "alone take more"});
  one.request.contexts = {1024};
  expect_refused(one, {"text: 385 tokens are fewer"});
  EXPECT_NE(refusal({}, {}).find("tasks"), std::string::npos);
  one = perplexity({"dense"});
  EXPECT_NE(refusal({one.request, one.request}, one.options).find("task ppl: is named twice"),
            std::string::npos);
}

TEST(Evaluator, CalibrationMustReachTheContexts) {
  GateSet gates(default_gate_config("Qavg_Kmaxminavg", books().config, 16), books().config);
  Case one = perplexity({"gate:density=0.1"});
  const auto refused = [&] { return refusal({one.request}, one.options, &gates); };
  const std::string without = refused();
  EXPECT_NE(without.find("seer calibrate"), std::string::npos) << without;
  CalibrationTable table;
  table.rows = {{.length = 8192, .density = 0.1, .thresholds = {0.01}}};
  gates.set_calibration(table);
  const std::string elsewhere = refused();
  EXPECT_NE(elsewhere.find("'gate:density=0.1', context 128"), std::string::npos) << elsewhere;
  // Not looked at where everything is dense.
  one.options.min_context = 129;
  EXPECT_EQ(refused(), "");
}

TEST(Evaluator, Generation) {
  const Case one = small(std::make_shared<CopyTask>(), {"dense", "streaming:ratio=0.3"});
  const std::vector<EvalSample> samples = run(one);
  ASSERT_EQ(samples.size(), 4U);
  for (const EvalSample& sample : samples) {
    EXPECT_EQ(sample.task, "copy");
    EXPECT_EQ(sample.metric, "prefix");
    EXPECT_EQ(sample.context, 128);
    EXPECT_EQ(sample.prompt_tokens, 122);
    EXPECT_EQ(sample.generated_tokens, 6);
    EXPECT_EQ(sample.score, 0.25);
    EXPECT_EQ(sample.depth, 0.5);
    EXPECT_EQ(sample.subset, sample.sample == 0 ? "even" : "odd");
    EXPECT_EQ(sample.references, std::vector<std::string>{"the"});
    EXPECT_GT(sample.decode_seconds, 0);
    EXPECT_GT(sample.peak_memory, 0U);
    EXPECT_EQ(sample.density < 1, sample.policy != "dense");
    EXPECT_TRUE(sample.recall.has_value());
    EXPECT_EQ(EvalSample::parse(sample.to_json(), "line").to_json(), sample.to_json());
    // The task's own seed and the evaluation's.
    const Json configuration = parse_json(sample.configuration, "configuration");
    EXPECT_EQ(configuration["seed"], 0);
    EXPECT_EQ(configuration["task_seed"], 7);
  }
  // As a generator of its own says.
  GenerateOptions options;
  options.max_new_tokens = 6;
  Generator generator(books().model, &books().tokenizer);
  const std::vector<TokenId> tokens = CopyTask().prompt(128, 1).tokens;
  EXPECT_EQ(generator.run(tokens, options, {}).text, samples[2].prediction);
}

TEST(Evaluator, SeveralTasksInOneRun) {
  Case one = perplexity({"dense"});
  one.request.contexts = {64, 128};
  const std::vector<EvalRequest> requests = {
      one.request, {.task = std::make_shared<CopyTask>(), .contexts = {128}}};
  const std::vector<EvalSample> samples = run(requests, one.options);
  ASSERT_EQ(samples.size(), 6U);
  EXPECT_EQ(samples[1].task, "ppl");
  EXPECT_EQ(samples[2].context, 128);
  EXPECT_EQ(samples[4].task, "copy");
  EXPECT_NE(samples[3].configuration, samples[4].configuration);
  // Each task goes on by itself.
  const std::vector<EvalSample> rest = run(requests, one.options, {samples[0], samples[5]});
  ASSERT_EQ(rest.size(), 4U);
  EXPECT_TRUE(rest[0].is_same(samples[1]));
  EXPECT_TRUE(rest[3].is_same(samples[4]));
}

TEST(BlockMapsOfAModel, ChosenAndGivenHeads) {
  const std::vector<TokenId> tokens(books().text->tokens.begin(),
                                    books().text->tokens.begin() + 320);
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
