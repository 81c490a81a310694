// Fine-tuning tiny models: that they learn, that it can be repeated and resumed, what is written, what is refused.
#include "seer/finetune.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "finetune/model_folder.h"
#include "seer/model.h"
#include "seer/sparse_attention.h"
#include "seer/text_file.h"
#include "seer/tokenizer.h"
#include "support/model_files.h"

namespace seer {
namespace {

using test::runtime_error_of;
using test::TemporaryFolder;

constexpr std::int64_t kBlock = 16;

std::filesystem::path folder_of(const std::string& name) {
  return std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "parity" / name;
}

// Tokens that follow from the one before, so that there is something to learn.
class ChainData final : public TrainingData {
 public:
  std::vector<TokenId> sequence(std::int64_t index, std::int64_t length) const override {
    std::mt19937_64 random(static_cast<std::uint64_t>(index));
    std::vector<TokenId> tokens = {static_cast<TokenId>(random() % 64)};
    while (static_cast<std::int64_t>(tokens.size()) < length)
      tokens.push_back(static_cast<TokenId>((tokens.back() * 5 + 3 + random() % 2) % 64));
    return tokens;
  }
  std::string fingerprint() const override { return "chain"; }
};

struct Fixture {
  std::filesystem::path folder;
  ModelConfig config;
  Checkpoint checkpoint;
  ChainData data;
  FinetuneOptions options;
  GateSet gates;
  std::unique_ptr<Finetuner> finetuner;

  explicit Fixture(const std::string& name = "qwen3")
      : folder(folder_of(name)),
        config(read_model_config(folder)),
        checkpoint(Checkpoint::open(folder)),
        gates(default_gate_config("Qavg4_Kmaxminavg", config, kBlock), config) {
    options = {.context = 100,
               .steps = 6,
               .learning_rate = 1e-3,
               .warmup_steps = 2,
               .policy = "gate:ratio=0.5",
               .gate_interval = 1,
               .eval_interval = 3,
               .eval_sequences = 2};
    gates.initialise(GateInit::kIdentity, 1);
  }

  std::vector<FinetuneProgress> run(std::int64_t steps = 1000) {
    make();
    std::vector<FinetuneProgress> all;
    while (!finetuner->is_done() && steps-- > 0)
      for (const FinetuneProgress& each : finetuner->run_step()) all.push_back(each);
    return all;
  }
  void make() {
    if (finetuner) return;
    const bool needs_gates = options.policy.starts_with("gate");
    finetuner = std::make_unique<Finetuner>(config, checkpoint, needs_gates ? &gates : nullptr,
                                            data, &data, options, at::kFloat, at::kCPU);
  }
  // The bytes of what was written.
  std::string written(const TemporaryFolder& temporary, const std::string& name,
                      const std::string& file = "model.safetensors") const {
    const std::filesystem::path out = temporary.path() / name;
    if (!std::filesystem::exists(out)) finetuner->write_model(folder, std::nullopt, out);
    return test::read_bytes(out / file);
  }
};

TEST(Finetuner, LossesFall) {
  for (const char* policy : {"gate:ratio=0.5", "dense", "streaming:ratio=0.5"}) {
    Fixture f;
    f.options.policy = policy;
    f.options.steps = 12;
    const std::vector<FinetuneProgress> steps = f.run();
    ASSERT_EQ(steps.size(), 12u);
    EXPECT_LT(steps.back().loss, steps.front().loss - 0.3) << policy;
    EXPECT_LT(*steps.back().held_out_loss, *steps[2].held_out_loss) << policy;
    EXPECT_FALSE(steps[3].held_out_loss.has_value());
    EXPECT_EQ(steps.back().tokens, 1200);
    EXPECT_EQ(steps.back().gate_loss.has_value(), std::string(policy).starts_with("gate"));
    if (std::string(policy) == "dense") {
      EXPECT_EQ(steps.back().density, 1);
    } else {
      EXPECT_LT(steps.back().density, 0.8);
    }
  }
}

TEST(Finetuner, GatesOfTheBundledModelLearnItsMaps) {
  const std::filesystem::path source = SEER_SOURCE_DIR;
  const std::filesystem::path folder = source / "models" / "books-19m-32k";
  const ModelConfig config = read_model_config(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const auto data = make_packed_data(
      read_token_stream({.paths = {(source / "examples/demo/valid.jsonl").string()}}, tokenizer, 0,
                        config.vocab_size),
      tokenizer, 0, {.retrieval_share = 0});
  GateSet gates(default_gate_config("Qavg16_Kmaxminavg", config), config);
  gates.initialise(GateInit::kNormal, 1);
  const FinetuneOptions options{.context = 256,
                                .steps = 6,
                                .warmup_steps = 2,
                                .gate_interval = 1,
                                .gate_learning_rate = 4e-3,
                                .eval_interval = 0};
  Finetuner finetuner(config, Checkpoint::open(folder), &gates, *data, nullptr, options, at::kFloat,
                      at::kCPU);
  std::vector<FinetuneProgress> steps;
  while (!finetuner.is_done())
    for (const FinetuneProgress& each : finetuner.run_step()) steps.push_back(each);
  EXPECT_LT(*steps.back().gate_loss, 0.7 * *steps.front().gate_loss);
}

TEST(Finetuner, ResumedTrainingHasTheSameBits) {
  const TemporaryFolder temporary;
  Fixture whole;
  whole.options.weight_decay = 0.1;
  whole.options.gate_interval = 2;
  const std::vector<FinetuneProgress> steps = whole.run();
  Fixture first;
  first.options.weight_decay = 0.1;
  first.options.gate_interval = 2;
  first.run(3);
  first.finetuner->save_checkpoint(temporary.path() / "checkpoint");
  Fixture second;
  second.options.weight_decay = 0.1;
  second.options.gate_interval = 2;
  second.make();
  second.finetuner->resume(temporary.path() / "checkpoint");
  EXPECT_EQ(second.finetuner->step(), 3);
  EXPECT_EQ(second.run().back().loss, steps.back().loss);
  EXPECT_EQ(second.written(temporary, "second"), whole.written(temporary, "whole"));
  for (const char* file : {"gates/gates.safetensors", "gates/gate_config.json"})
    EXPECT_EQ(second.written(temporary, "second", file), whole.written(temporary, "whole", file));
  EXPECT_NE(first.written(temporary, "first"), whole.written(temporary, "whole"));
  Fixture other;
  other.options.learning_rate = 2e-3;
  other.make();
  const std::string error =
      runtime_error_of([&] { other.finetuner->resume(temporary.path() / "checkpoint"); });
  EXPECT_NE(error.find("settings"), std::string::npos) << error;
}

TEST(Finetuner, AccumulationIsALargerBatch) {
  std::vector<std::vector<FinetuneProgress>> runs;
  for (const auto& [batch, accumulation] : {std::pair(4, 1), {2, 2}, {1, 4}}) {
    Fixture f("llama31");
    f.options.batch_size = batch;
    f.options.gradient_accumulation = accumulation;
    runs.push_back(f.run());
  }
  for (std::size_t step = 0; step < runs[0].size(); ++step) {
    for (const auto& run : runs) {
      EXPECT_NEAR(run[step].loss, runs[0][step].loss, 2e-4) << step;
      EXPECT_NEAR(run[step].gradient_norm, runs[0][step].gradient_norm,
                  2e-3 * runs[0][step].gradient_norm);
      EXPECT_NEAR(*run[step].gate_loss, *runs[0][step].gate_loss, 1e-3);
    }
  }
}

TEST(Finetuner, GatesLearnInEveryFewSteps) {
  Fixture f;
  f.options.gate_interval = 3;
  const auto gates_now = [&] { return f.gates.parameters().front().value.detach().clone(); };
  at::Tensor before = gates_now();
  for (int step = 0; step < 6; ++step) {
    const bool learns = step % 3 == 0;
    const std::vector<FinetuneProgress> reports = f.run(1);
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_EQ(reports.front().gate_loss.has_value(), learns) << step;
    EXPECT_EQ(reports.front().gate_recall.has_value(), learns) << step;
    EXPECT_EQ(at::equal(gates_now(), before), !learns) << step;
    before = gates_now();
  }
}

TEST(Finetuner, ThresholdsOfTheModelBeforeAreGone) {
  const TemporaryFolder temporary;
  for (const std::int64_t steps : {0, 2}) {
    Fixture f;
    f.options.steps = steps;
    f.options.policy = "gate:density=0.5";
    CalibrationTable table;
    table.rows = {{.length = 100, .density = 0.5, .thresholds = {0.02}}};
    f.gates.set_calibration(table);
    f.run();
    const std::string name = std::to_string(steps);
    f.written(temporary, name);
    const GateSet gates = GateSet::load(temporary.path() / name / "gates", f.config);
    EXPECT_EQ(gates.config().calibration.empty(), steps > 0);
  }
}

TEST(Finetuner, FrozenGatesStay) {
  const TemporaryFolder temporary;
  Fixture f;
  f.options.freeze_gates = true;
  const at::Tensor before = f.gates.parameters().front().value.clone();
  EXPECT_FALSE(f.run().back().gate_loss.has_value());
  EXPECT_TRUE(at::equal(before, f.gates.parameters().front().value));
}

TEST(Finetuner, TheFirstUpdateIsAdamWs) {
  // AdamW's first update is the learning rate times sign(gradient), and weights decay before it.
  Fixture f("llama31");
  f.options.policy = "dense";
  f.options.warmup_steps = 0;
  f.options.weight_decay = 0.5;
  f.options.steps = 1;
  f.run();
  const TemporaryFolder temporary;
  f.written(temporary, "out");
  const Checkpoint trained = Checkpoint::open(temporary.path() / "out");
  for (const std::string& name : f.checkpoint.names()) {
    const at::Tensor before = f.checkpoint.load(name, f.checkpoint.info(name).shape, at::kFloat);
    const at::Tensor after = trained.load(name, trained.info(name).shape, at::kFloat);
    const double decay = before.dim() > 1 ? 0.5 * 1e-3 : 0;
    const at::Tensor change = (after - before * (1 - decay)).abs() / 1e-3;
    EXPECT_LT(change.max().item<double>(), 1 + 1e-3) << name;
    // Of an embedding, the rows of tokens that occur.
    if (name != "model.embed_tokens.weight") {
      EXPECT_GT(change.median().item<double>(), 0.9) << name;
    }
  }
}

TEST(Finetuner, WhatIsWrittenIsTheModelInTraining) {
  const TemporaryFolder temporary;
  Fixture f("qwen2");  // tied
  f.run();
  const std::filesystem::path out = temporary.path() / "out";
  f.finetuner->write_model(f.folder, std::nullopt, out);
  const ModelConfig config = read_model_config(out);
  const Model model(config, Checkpoint::open(out), {});
  const GateSet gates = GateSet::load(out / "gates", config);
  SparseAttention sparse(config, "gate:ratio=0.5", &gates, {.min_context = 0});
  double sum = 0;
  for (const std::int64_t index : {0, 1}) {
    const at::Tensor tokens = at::tensor(f.data.sequence(index, 100), at::kLong);
    KvCache cache(config, 1, 100, at::kFloat);
    sparse.begin(0, 100);
    const at::Tensor logits = model.logits(model.forward(tokens.unsqueeze(0), cache, &sparse))[0];
    sum += at::cross_entropy_loss(logits.narrow(0, 0, 99), tokens.narrow(0, 1, 99)).item<double>();
  }
  EXPECT_NEAR(f.finetuner->held_out_loss(), sum / 2, 1e-5);
  EXPECT_THROW(f.finetuner->write_model(f.folder, std::nullopt, out), std::runtime_error);
  EXPECT_FALSE(Checkpoint::open(out).contains("lm_head.weight"));
}

TEST(Finetuner, RefusesWhatCannotBe) {
  Fixture f;
  f.options.context = 5000;
  EXPECT_THROW(f.make(), std::invalid_argument);
  f.options = {.context = 64, .policy = "gate:ratio=2"};
  EXPECT_THROW(f.make(), std::invalid_argument);
  for (const FinetuneOptions& bad :
       {FinetuneOptions{.batch_size = 0}, FinetuneOptions{.learning_rate = 0},
        FinetuneOptions{.beta1 = 1}, FinetuneOptions{.gate_loss_scale = -1},
        FinetuneOptions{.gate_interval = 0},
        FinetuneOptions{.learning_rate = std::numeric_limits<double>::quiet_NaN()}}) {
    EXPECT_THROW(bad.check(), std::invalid_argument);
  }
  Fixture diverges;
  diverges.options.learning_rate = 1e30;
  diverges.options.policy = "dense";
  diverges.options.warmup_steps = 0;
  const std::string error = runtime_error_of([&] { diverges.run(); });
  EXPECT_NE(error.find("not finite"), std::string::npos) << error;
}

TEST(RopeScaling, TextAndConfiguration) {
  for (const char* text : {"yarn:4", "linear:2.5", "llama3:8"})
    EXPECT_EQ(parse_rope_scaling(text).to_string(), text);
  for (const char* text : {"", "yarn", "yarn:", "yarn:1", "yarn:x", "yarn:4x", "ntk:4", "default:4",
                           "yarn:-2", "yarn:inf", "yarn:nan"})
    EXPECT_THROW(parse_rope_scaling(text), std::invalid_argument) << text;
  const ModelConfig plain = read_model_config(folder_of("qwen2"));
  const ModelConfig yarn = scale_rope(plain, parse_rope_scaling("yarn:4"));
  EXPECT_EQ(yarn.max_positions, 4 * plain.max_positions);
  EXPECT_EQ(yarn.rope.original_max_positions, plain.max_positions);
  EXPECT_THROW(scale_rope(yarn, parse_rope_scaling("yarn:2")), std::invalid_argument);
}

// What is written must be read as what was trained, in both forms of a configuration.
TEST(RopeScaling, ConfigJsonIsReadAsTheModelThatWasTrained) {
  const TemporaryFolder temporary;
  const std::string old_form = read_text_file((folder_of("qwen2") / "config.json").string());
  auto new_form = nlohmann::ordered_json::parse(old_form);
  new_form.erase("rope_theta");
  new_form.erase("rope_scaling");
  new_form.erase("torch_dtype");
  new_form["dtype"] = "float32";
  new_form["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  for (const std::string& source : {old_form, new_form.dump(2)}) {
    temporary.write("config.json", source);
    const ModelConfig before = read_model_config(temporary.path());
    for (const char* text : {"yarn:4", "linear:4", "llama3:8"}) {
      const RopeScaling scaling = parse_rope_scaling(text);
      const ModelConfig trained = scale_rope(before, scaling);
      const std::string json =
          trained_config_json(source, "config.json", trained, scaling, at::kBFloat16);
      temporary.write("config.json", json);
      const ModelConfig after = read_model_config(temporary.path());
      EXPECT_TRUE(after.rope == trained.rope) << json;
      EXPECT_EQ(after.max_positions, trained.max_positions);
      EXPECT_EQ(after.dtype, "bfloat16");
      const auto fields = nlohmann::ordered_json::parse(json);
      EXPECT_EQ(fields.contains("rope_parameters"), source != old_form);
      EXPECT_EQ(fields["id2label"], new_form["id2label"]);
      temporary.write("config.json", source);
    }
  }
}

TEST(Gates, GoAlongToOtherPositions) {
  const TemporaryFolder temporary;
  Fixture f("qwen2");
  f.gates.save(temporary.path() / "gates");
  const ModelConfig extended = scale_rope(f.config, parse_rope_scaling("yarn:4"));
  const GateSet adapted = adapt_gates(temporary.path() / "gates", f.config, extended);
  EXPECT_TRUE(at::equal(adapted.parameters().back().value, f.gates.parameters().back().value));
  adapted.save(temporary.path() / "adapted");
  EXPECT_NO_THROW(GateSet::load(temporary.path() / "adapted", extended));
  EXPECT_NO_THROW(adapt_gates(temporary.path() / "adapted", f.config, extended));
  EXPECT_THROW(GateSet::load(temporary.path() / "adapted", f.config), std::runtime_error);
  const ModelConfig other = read_model_config(folder_of("qwen3"));
  EXPECT_THROW(adapt_gates(temporary.path() / "gates", other, other), std::runtime_error);
}

}  // namespace
}  // namespace seer
