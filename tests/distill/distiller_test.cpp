// Training gates on tiny models: that they learn, that it can be repeated and resumed, what it refuses.
#include "seer/distill.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "seer/calibrate.h"
#include "seer/sparse_attention.h"
#include "support/model_files.h"

namespace seer {
namespace {

using test::runtime_error_of;
using test::TemporaryFolder;

constexpr std::int64_t kBlock = 16;

// Sequences of random tokens with repeats, so that there is something to attend to.
class RandomData final : public TrainingData {
 public:
  explicit RandomData(std::int64_t vocab_size, std::string name = "random")
      : vocab_size_(vocab_size), name_(std::move(name)) {}

  std::vector<TokenId> sequence(std::int64_t index, std::int64_t length) const override {
    std::mt19937_64 random(static_cast<std::uint64_t>(index));
    std::vector<TokenId> tokens;
    for (std::int64_t i = 0; i < length; ++i) {
      const bool repeats = i > 64 && random() % 2 == 0;
      tokens.push_back(
          repeats ? tokens[random() % tokens.size()]
                  : static_cast<TokenId>(random() % static_cast<std::uint64_t>(vocab_size_)));
    }
    return tokens;
  }
  std::string fingerprint() const override { return name_; }

 private:
  std::int64_t vocab_size_;
  std::string name_;
};

std::filesystem::path folder_of(const std::string& name) {
  return std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "parity" / name;
}

struct Fixture {
  ModelConfig config;
  Checkpoint checkpoint;
  Model model;
  RandomData data;
  DistillOptions options;

  explicit Fixture(const std::string& name = "llama31", bool stream_layers = false)
      : config(read_model_config(folder_of(name))),
        checkpoint(Checkpoint::open(folder_of(name))),
        model(config, checkpoint, {.stream_layers = stream_layers}),
        data(config.vocab_size) {
    options.context = 256;
    options.steps = 6;
    options.batch_size = 2;
    options.warmup_steps = 2;
    options.stream_layers = stream_layers;
  }

  GateSet gates() const {
    GateSet made(default_gate_config("Qavg4_Kmaxminavg", config, kBlock), config);
    made.initialise(GateInit::kNormal, 1);
    return made;
  }
};

bool same_bits(const GateSet& a, const GateSet& b) {
  const auto left = a.parameters(), right = b.parameters();
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (!at::equal(left[i].value, right[i].value)) return false;
  }
  return true;
}

TEST(Distiller, LearnsTheBundledModelsMaps) {
  const std::filesystem::path source = SEER_SOURCE_DIR;
  const std::filesystem::path folder = source / "models" / "books-19m-32k";
  const ModelConfig config = read_model_config(folder);
  const Model model(config, Checkpoint::open(folder), {});
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const auto data = make_packed_data(
      read_token_stream({.paths = {(source / "examples/demo/valid.jsonl").string()}}, tokenizer, 0,
                        config.vocab_size),
      tokenizer, 0, {.retrieval_share = 0});
  for (const DistillLoss loss : {DistillLoss::kKl, DistillLoss::kMse, DistillLoss::kSmoothL1}) {
    GateSet gates(default_gate_config("Qavg16_Kmaxminavg", config), config);
    gates.initialise(GateInit::kNormal, 1);
    Distiller distiller(model, gates, *data,
                        {.context = 512, .steps = 10, .warmup_steps = 2, .loss = loss});
    std::vector<DistillProgress> steps;
    while (!distiller.is_done()) steps.push_back(distiller.run_step());
    ASSERT_EQ(steps.size(), 10u);
    EXPECT_LT(steps.back().loss, 0.8 * steps.front().loss) << distill_loss_name(loss);
    double first = 0, last = 0, layers = 0;
    for (std::size_t layer = 0; layer < 10; ++layer) {
      first += steps.front().layer_recall[layer];
      last += steps.back().layer_recall[layer];
      layers += 10 * steps[3].layer_loss[layer];
    }
    EXPECT_GT(last, first) << distill_loss_name(loss);
    EXPECT_NEAR(steps[3].loss, layers, 1e-9);
    EXPECT_EQ(steps.back().tokens, 10 * 512);
  }
  // Few sequences teach more when they are learned from again.
  std::vector<double> last;
  for (const std::int64_t replay : {0, 4}) {
    GateSet gates(default_gate_config("Qavg16_Kmaxminavg", config), config);
    gates.initialise(GateInit::kNormal, 1);
    Distiller distiller(model, gates, *data,
                        {.context = 512, .steps = 5, .replay = replay, .warmup_steps = 2});
    last.push_back(0);
    while (!distiller.is_done()) last.back() = distiller.run_step().loss;
  }
  EXPECT_LT(last[1], 0.9 * last[0]);
}

TEST(Distiller, RepeatsItselfAndStreamedLayersChangeNothing) {
  Fixture f, streamed("llama31", /*stream_layers=*/true);
  GateSet once = f.gates(), again = f.gates(), by_layer = f.gates();
  for (auto& [fixture, gates] : std::vector<std::pair<Fixture*, GateSet*>>{
           {&f, &once}, {&f, &again}, {&streamed, &by_layer}}) {
    Distiller distiller(fixture->model, *gates, fixture->data, fixture->options);
    while (!distiller.is_done()) distiller.run_step();
  }
  EXPECT_TRUE(same_bits(once, again));
  // Sequences that run together go through larger matrix products, which may round otherwise.
  const auto left = once.parameters(), right = by_layer.parameters();
  for (std::size_t i = 0; i < left.size(); ++i) {
    EXPECT_TRUE(at::allclose(left[i].value, right[i].value, 1e-3, 1e-4)) << left[i].name;
  }
  EXPECT_FALSE(same_bits(once, f.gates()));
}

TEST(Distiller, ResumedTrainingEndsWithTheSameWeights) {
  const Fixture f;
  const TemporaryFolder folder;
  const std::filesystem::path checkpoint = folder.path() / "run.checkpoint";
  GateSet whole = f.gates(), part = f.gates(), resumed = f.gates();
  Distiller uninterrupted(f.model, whole, f.data, f.options);
  while (!uninterrupted.is_done()) uninterrupted.run_step();
  {
    Distiller first(f.model, part, f.data, f.options);
    for (int i = 0; i < 3; ++i) first.run_step();
    first.save_checkpoint(checkpoint);
    first.run_step();  // lost
  }
  resumed.initialise(GateInit::kNormal, 99);  // whatever was there
  Distiller second(f.model, resumed, f.data, f.options);
  second.resume(checkpoint);
  EXPECT_EQ(second.step(), 3);
  while (!second.is_done()) second.run_step();
  EXPECT_TRUE(same_bits(whole, resumed));
}

TEST(Distiller, ReplayAndLengthsResumeWithTheSameWeights) {
  for (const bool stream_layers : {false, true}) {
    Fixture f("llama31", stream_layers);
    f.options.lengths = {{256, 3}, {384, 2}, {100, 1}};
    f.options.replay = 2;
    f.options.replay_sequences = 3;
    const TemporaryFolder folder;
    const std::filesystem::path checkpoint = folder.path() / "run.checkpoint";
    GateSet whole = f.gates(), part = f.gates(), resumed = f.gates(), without = f.gates();
    Distiller uninterrupted(f.model, whole, f.data, f.options);
    DistillProgress last;
    while (!uninterrupted.is_done()) last = uninterrupted.run_step();
    EXPECT_EQ(last.tokens, 2 * (3 * 256 + 2 * 384 + 100));
    {
      Distiller first(f.model, part, f.data, f.options);
      for (int i = 0; i < 4; ++i) first.run_step();
      first.save_checkpoint(checkpoint);
    }
    Distiller second(f.model, resumed, f.data, f.options);
    second.resume(checkpoint);
    while (!second.is_done()) second.run_step();
    EXPECT_TRUE(same_bits(whole, resumed));
    f.options.replay = 0;
    Distiller plain(f.model, without, f.data, f.options);
    while (!plain.is_done()) plain.run_step();
    EXPECT_FALSE(same_bits(whole, without));
  }
}

TEST(Distiller, ResumeRefusesOtherSettingsAndDamage) {
  const Fixture f;
  const TemporaryFolder folder;
  const std::filesystem::path checkpoint = folder.path() / "c";
  GateSet gates = f.gates();
  {
    Distiller distiller(f.model, gates, f.data, f.options);
    distiller.run_step();
    distiller.save_checkpoint(checkpoint);
  }
  const auto refusal = [&](const DistillOptions& options, const TrainingData& data,
                           const std::filesystem::path& from) {
    GateSet fresh = f.gates();
    Distiller distiller(f.model, fresh, data, options);
    const std::string message = runtime_error_of([&] { distiller.resume(from); });
    EXPECT_TRUE(same_bits(fresh, f.gates())) << "half loaded";
    return message;
  };
  DistillOptions other = f.options;
  other.learning_rate = 1;
  EXPECT_NE(refusal(other, f.data, checkpoint).find("learning_rate"), std::string::npos);
  EXPECT_NE(refusal(f.options, RandomData(f.config.vocab_size, "others"), checkpoint).find("data"),
            std::string::npos);
  EXPECT_NE(refusal(f.options, f.data, folder.path() / "none").find("no checkpoint"),
            std::string::npos);
  const std::string tensors = test::read_bytes(checkpoint / "training.safetensors");
  folder.write("c/training.safetensors", tensors.substr(0, tensors.size() / 2));
  EXPECT_NE(refusal(f.options, f.data, checkpoint).find("training.safetensors"), std::string::npos);
}

TEST(Distiller, NamesTheLayerWhereALossIsNotFinite) {
  const Fixture f;
  GateSet gates = f.gates();
  for (const GateParameter& parameter : gates.parameters()) {
    if (parameter.name.find("layers.1.") != std::string::npos) {
      parameter.value.fill_(std::numeric_limits<float>::quiet_NaN());
    }
  }
  Distiller distiller(f.model, gates, f.data, f.options);
  const std::string message = runtime_error_of([&] { distiller.run_step(); });
  EXPECT_NE(message.find("layer 1"), std::string::npos) << message;
  EXPECT_EQ(distiller.step(), 0);
}

TEST(Distiller, ChecksOptions) {
  const Fixture f;
  GateSet gates = f.gates();
  const auto refused = [&](auto change) {
    DistillOptions options = f.options;
    change(options);
    try {
      Distiller(f.model, gates, f.data, options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(
      refused([](auto& o) { o.context = 100000; }).find("context 100000: expected at most 1024"),
      std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.learning_rate = -1; }).find("learning rate"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.row_slice = 1; }).find("row slice"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.replay = -1; }).find("replay"), std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.replay_sequences = 0; }).find("replay sequences"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) {
              o.lengths = {{256, 1}, {2048, 1}};
            }).find("context 2048"),
            std::string::npos);
  EXPECT_NE(refused([](auto& o) { o.batch_size = 0; }).find("batch size"), std::string::npos);
  EXPECT_EQ(refused([](auto&) {}), "");
}

TEST(LearningRate, WarmsUpAndEndsWhereAsked) {
  const DistillOptions options{
      .steps = 100, .learning_rate = 2.0, .final_learning_rate = 0.5, .warmup_steps = 10};
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 9), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 10), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 55), 1.25);
  EXPECT_NEAR(learning_rate_at(options, 100), 0.5, 1e-12);
  DistillOptions replayed = options;
  replayed.replay = 3;
  EXPECT_NEAR(learning_rate_at(replayed, 400), 0.5, 1e-12);
  EXPECT_GT(learning_rate_at(replayed, 100), 1.75);
}

TEST(Calibration, GivesTheDensityThatWasAsked) {
  const Fixture f;
  GateSet gates = f.gates();
  const CalibrationTable table = calibrate_gates(
      f.model, gates, f.data,
      {.lengths = {256, 512}, .densities = {0.6, 0.4, 0.3}, .tokens_per_length = 2048});
  ASSERT_EQ(table.rows.size(), 6u);
  gates.set_calibration(table);
  for (const std::int64_t length : {256, 512}) {
    for (const double density : {0.6, 0.35}) {
      SparseAttention attention(f.config, "gate:density=" + std::to_string(density), &gates,
                                {.min_context = 0});
      for (std::int64_t i = 100; i < 104; ++i) {
        KvCache cache(f.config, 1, length, at::kFloat);
        attention.begin(0, length);
        f.model.forward(at::tensor(f.data.sequence(i, length), at::kLong).unsqueeze(0), cache,
                        &attention);
      }
      EXPECT_NEAR(attention.total_count().density(), density, 0.1 * density) << length;
    }
  }
}

}  // namespace
}  // namespace seer
