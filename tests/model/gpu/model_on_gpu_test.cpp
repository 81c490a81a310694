// The bundled model on a GPU against itself on the CPU, both in bfloat16.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "ops/gpu/gpu_test.h"
#include "seer/calibrate.h"
#include "seer/device.h"
#include "seer/distill.h"
#include "seer/eval.h"
#include "seer/generate.h"
#include "seer/score.h"
#include "seer/sparse_attention.h"
#include "support/model_files.h"

namespace seer {
namespace {

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

const std::filesystem::path kSource = SEER_SOURCE_DIR;
const c10::Device kGpu(c10::kCUDA, 0);

class ModelOnGpu : public test::GpuTest {
 protected:
  std::filesystem::path folder = kSource / "models" / "books-19m-32k";
  ModelConfig config = read_model_config(folder);
  Tokenizer tokenizer = Tokenizer::load(folder);
  TokenStream text =
      read_token_stream({.paths = {(kSource / "examples/demo/valid.jsonl").string()}}, tokenizer, 0,
                        config.vocab_size);

  Model on(c10::Device device, AttentionBackend attention = AttentionBackend::kSeer,
           bool stream_layers = false) {
    if (!checkpoint) checkpoint.emplace(Checkpoint::open(folder));
    return Model(config, *checkpoint,
                 {.dtype = at::kBFloat16,
                  .attention = attention,
                  .stream_layers = stream_layers,
                  .device = device});
  }

  std::vector<TokenId> tokens(std::int64_t count) const {
    return {text.tokens.begin(), text.tokens.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  GateSet gates(c10::Device device) const {
    GateSet made(default_gate_config("Qavg16_Kmaxminavg", config), config);
    made.initialise(GateInit::kIdentity, 1);
    made.to(device);
    return made;
  }

  std::unique_ptr<TrainingData> data() const {
    return make_packed_data(text, tokenizer, 0, {.retrieval_share = 0.5, .questions = 14});
  }

  std::optional<Checkpoint> checkpoint;
};

// bfloat16's steps are 2^-8; the mean over thousands of tokens is far closer.
constexpr double kNllTolerance = 3e-3;

double nll_of(const Model& model, const std::vector<TokenId>& tokens,
              std::optional<std::int64_t> chunk = std::nullopt, Attention* attention = nullptr) {
  ScoreOptions options;
  options.prefill_chunk = chunk;
  options.attention = attention;
  return *score_tokens(model, tokens, options).nll_mean;
}

TEST_F(ModelOnGpu, ScoresAsOnTheCpu) {
  const std::vector<TokenId> prompt = tokens(3001);
  const double cpu = nll_of(on(c10::kCPU), prompt);
  const Model seer = on(kGpu);
  EXPECT_NEAR(nll_of(seer, prompt), cpu, kNllTolerance);
  EXPECT_NEAR(nll_of(seer, prompt, 500), cpu, kNllTolerance);
  EXPECT_NEAR(nll_of(on(kGpu, AttentionBackend::kSdpa), prompt, 1024), cpu, kNllTolerance);
}

TEST_F(ModelOnGpu, ScoresTwiceWithTheSameBits) {
  const Model model = on(kGpu);
  const std::vector<TokenId> prompt = tokens(2000);
  const SequenceScore once = score_tokens(model, prompt, {});
  const SequenceScore again = score_tokens(model, prompt, {});
  EXPECT_EQ(*once.nll_mean, *again.nll_mean);
  EXPECT_EQ(once.positions[0].top_logits, again.positions[0].top_logits);
}

TEST_F(ModelOnGpu, DecodesWhatPrefillSays) {
  const Model model = on(kGpu);
  Generator generator(model, &tokenizer);
  std::vector<TokenId> all = tokens(300);
  const std::size_t prompt = all.size();
  const std::vector<TokenId> made =
      generator.run(all, {.sampling = {}, .max_new_tokens = 20, .stop = {}}, {}).tokens;
  ASSERT_EQ(made.size(), 20U);
  all.insert(all.end(), made.begin(), made.end());
  // Each token is among the likeliest two of a pass over everything: sums in another order may change the first of
  // nearly equal ones.
  ScoreOptions options;
  for (std::size_t i = prompt; i < all.size(); ++i) {
    options.positions.push_back(static_cast<std::int64_t>(i) - 1);
  }
  const SequenceScore score = score_tokens(model, all, options);
  int first = 0;
  for (std::size_t i = 0; i < made.size(); ++i) {
    const std::vector<TokenId>& top = score.positions[i].top_ids;
    EXPECT_TRUE(top[0] == made[i] || top[1] == made[i]) << i;
    first += top[0] == made[i] ? 1 : 0;
  }
  EXPECT_GE(first, 18);
}

TEST_F(ModelOnGpu, PoliciesKeepWhatTheyKeepOnTheCpu) {
  const Model cpu = on(c10::kCPU), gpu = on(kGpu);
  const GateSet cpu_gates = gates(c10::kCPU), gpu_gates = gates(kGpu);
  const std::vector<TokenId> prompt = tokens(3000);
  for (const char* policy :
       {"gate:ratio=0.2", "gate:mass=0.7", "gate:threshold=0.02", "meanpool:ratio=0.2",
        "oracle:density=0.2", "streaming:ratio=0.2", "random:ratio=0.2,sink=1,local=1",
        "gate:budget=512,dense_rows=2,start_layer=3", "quest:ratio=0.2", "xattention:mass=0.7",
        "minference:ratio=0.2", "flexprefill:ratio=0.2"}) {
    SCOPED_TRACE(policy);
    SparseAttention on_cpu(config, policy, &cpu_gates, {.min_context = 0});
    SparseAttention on_gpu(config, policy, &gpu_gates, {.min_context = 0});
    const std::int64_t chunk = on_cpu.wants_whole_prompt() ? 3000 : 1024;
    const double expected = nll_of(cpu, prompt, chunk, &on_cpu);
    // Scores that are close to each other may be chosen otherwise.
    EXPECT_NEAR(nll_of(gpu, prompt, chunk, &on_gpu), expected, 0.02);
    EXPECT_NEAR(on_gpu.total_count().density(), on_cpu.total_count().density(),
                0.02 * on_cpu.total_count().density());
  }
}

TEST_F(ModelOnGpu, TrainsGatesAsOnTheCpu) {
  const Model cpu = on(c10::kCPU), gpu = on(kGpu);
  GateSet cpu_gates = gates(c10::kCPU), gpu_gates = gates(kGpu);
  const auto sequences = data();
  DistillOptions options;
  options.context = 1024;
  options.steps = 4;
  options.warmup_steps = 2;
  options.replay = 1;
  Distiller on_cpu(cpu, cpu_gates, *sequences, options),
      on_gpu(gpu, gpu_gates, *sequences, options);
  while (!on_cpu.is_done()) {
    const DistillProgress expected = on_cpu.run_step(), found = on_gpu.run_step();
    EXPECT_NEAR(found.loss, expected.loss, 0.02 * expected.loss) << expected.step;
    EXPECT_NEAR(found.gradient_norm, expected.gradient_norm, 0.05 * expected.gradient_norm);
    // A row of 16 blocks keeps one or two: of nearly equal ones each device may take another, which moves a layer's
    // recall, and hardly the mean of all.
    EXPECT_NEAR(mean(found.layer_recall), mean(expected.layer_recall), 0.015);
    for (std::size_t layer = 0; layer < expected.layer_recall.size(); ++layer) {
      EXPECT_NEAR(found.layer_recall[layer], expected.layer_recall[layer], 0.06);
    }
  }
}

TEST_F(ModelOnGpu, ResumedTrainingEndsWithTheSameWeights) {
  const Model model = on(kGpu);
  const auto sequences = data();
  const test::TemporaryFolder folder_of_run;
  const std::filesystem::path state = folder_of_run.path() / "run.checkpoint";
  DistillOptions options;
  options.lengths = {{.length = 512, .sequences = 2}, {.length = 1024, .sequences = 1}};
  options.steps = 6;
  options.warmup_steps = 2;
  options.replay = 2;
  options.replay_sequences = 2;
  GateSet whole = gates(kGpu), part = gates(kGpu), resumed = gates(kGpu);
  {
    Distiller uninterrupted(model, whole, *sequences, options);
    while (!uninterrupted.is_done()) uninterrupted.run_step();
    Distiller first(model, part, *sequences, options);
    for (int i = 0; i < 3; ++i) first.run_step();
    first.save_checkpoint(state);
    first.save_checkpoint(state);  // over the one that is there, as at the end of a run
    Distiller second(model, resumed, *sequences, options);
    second.resume(state);
    while (!second.is_done()) second.run_step();
  }
  const auto left = whole.parameters(), right = resumed.parameters();
  for (std::size_t i = 0; i < left.size(); ++i) {
    EXPECT_TRUE(at::equal(left[i].value, right[i].value)) << left[i].name;
  }
  // What is written can be read on either device.
  whole.save(folder_of_run.path() / "gates");
  const GateSet read = GateSet::load(folder_of_run.path() / "gates", config);
  EXPECT_TRUE(at::equal(read.parameters()[0].value, left[0].value.cpu()));
  EXPECT_EQ(gates_label(read, "x"), gates_label(whole, "x"));
}

TEST_F(ModelOnGpu, CalibratesAsOnTheCpu) {
  const GateSet cpu_gates = gates(c10::kCPU), gpu_gates = gates(kGpu);
  const auto sequences = data();
  const CalibrationOptions options{
      .lengths = {1024, 2048}, .densities = {0.3, 0.1}, .tokens_per_length = 2048};
  const CalibrationTable cpu = calibrate_gates(on(c10::kCPU), cpu_gates, *sequences, options);
  const CalibrationTable gpu = calibrate_gates(on(kGpu), gpu_gates, *sequences, options);
  for (std::size_t i = 0; i < cpu.rows.size(); ++i) {
    EXPECT_NEAR(gpu.rows[i].thresholds[0], cpu.rows[i].thresholds[0],
                0.05 * cpu.rows[i].thresholds[0]);
  }
}

TEST_F(ModelOnGpu, StreamsLayers) {
  const auto sequences = data();
  const Model streamed = on(kGpu, AttentionBackend::kSeer, /*stream_layers=*/true);
  const Model resident = on(kGpu);
  std::vector<double> losses;
  for (const Model* model : {&streamed, &resident}) {
    GateSet trained = gates(kGpu);
    DistillOptions options;
    options.context = 512;
    options.steps = 1;
    options.stream_layers = model == &streamed;
    Distiller distiller(*model, trained, *sequences, options);
    losses.push_back(distiller.run_step().loss);
  }
  EXPECT_EQ(losses[0], losses[1]);
}

TEST_F(ModelOnGpu, KnowsItsMemory) {
  const std::uint64_t before = available_memory(kGpu);
  reset_peak_memory(kGpu);
  const at::Tensor held = at::empty({1 << 28}, at::TensorOptions(at::kByte).device(kGpu));
  EXPECT_GE(peak_memory(kGpu), std::uint64_t{1} << 28);
  EXPECT_LE(available_memory(kGpu), before - (std::uint64_t{1} << 27));
  EXPECT_EQ(on(kGpu).prefill_chunk(4096), 4096);
  // No GPU holds that.
  const std::int64_t chunk = on(kGpu).prefill_chunk(std::int64_t{1} << 40);
  EXPECT_LT(chunk, std::int64_t{1} << 40);
  EXPECT_EQ(chunk % 1024, 0);
}

TEST_F(ModelOnGpu, RefusesTypesThatTheKernelsLack) {
  EXPECT_THROW(Model(config, Checkpoint::open(folder), {.dtype = at::kFloat, .device = kGpu}),
               c10::Error);
}

}  // namespace
}  // namespace seer
