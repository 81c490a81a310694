// The decoder in training: what it computes is what inference computes, and its gradients are those of plain LibTorch
// operations in float64.
#include "finetune/trainable_decoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "distill/distill_attention.h"
#include "finetune/flat_weights.h"
#include "plain_decoder.h"
#include "seer/model.h"

namespace seer {
namespace {

constexpr std::int64_t kBlock = 16;

std::filesystem::path folder_of(const std::string& name) {
  return std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "parity" / name;
}

struct Case {
  const char* model;
  const char* policy;
  std::int64_t length;
  std::int64_t batch = 1;
  at::ScalarType dtype = at::kFloat;
};

// A model in training beside the truth.
struct Fixture {
  ModelConfig config;
  Checkpoint checkpoint;
  FinetuneOptions options;
  GateSet gates;
  FlatWeights weights;
  TrainableDecoder decoder;
  TrainingAttention attention;
  at::Tensor tokens;  // [batch, length]

  explicit Fixture(const Case& of, double gate_weight = 0)
      : config(read_model_config(folder_of(of.model))),
        checkpoint(Checkpoint::open(folder_of(of.model))),
        options{.policy = of.policy},
        gates(default_gate_config("Qavg4_Kmaxminavg", config, kBlock), config),
        weights(config, CheckpointWeights(checkpoint), of.dtype),
        decoder(config, weights, at::kCPU),
        attention(config, &gates, options) {
    at::manual_seed(7);
    tokens = at::randint(config.vocab_size, {of.batch, of.length}, at::kLong);
    gates.initialise(GateInit::kIdentity, 3);
    attention.begin(of.batch, of.length, gate_weight);
  }

  std::int64_t batch() const { return tokens.size(0); }
  std::int64_t length() const { return tokens.size(1); }
  double scale() const { return 1.0 / static_cast<double>(batch() * (length() - 1)); }

  // The blocks that a sequence's layers attend to, as inference chooses them.
  test::PlainMasks masks(std::int64_t sequence) {
    test::PlainMasks masks;
    Model model(config, checkpoint, {});
    SparseAttention sparse(
        config, options.policy, &gates,
        {.min_context = 0, .on_mask = [&](const AttentionCall&, const at::Tensor& mask) {
           masks.layers.push_back(mask.defined() ? mask.squeeze(0).clone() : mask);
         }});
    masks.block_size = sparse.block_size();
    sparse.begin(0, length());
    KvCache cache(config, 1, length(), at::kFloat);
    model.forward(tokens.narrow(0, sequence, 1), cache, &sparse);
    return masks;
  }
};

double furthest(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class Training : public testing::TestWithParam<Case> {};

TEST_P(Training, ForwardIsThatOfInference) {
  Fixture f(GetParam());
  const Model model(f.config, f.checkpoint, {.dtype = GetParam().dtype});
  const at::Tensor logits =
      f.decoder.logits(f.decoder.forward(f.tokens, f.attention)).view({f.batch(), f.length(), -1});
  // bfloat16 rounds what a product of more rows adds in another order.
  const double tolerance = GetParam().dtype == at::kFloat ? 2e-5 : 0.1;
  for (std::int64_t i = 0; i < f.batch(); ++i) {
    SparseAttention sparse(f.config, f.options.policy, &f.gates, {.min_context = 0});
    sparse.begin(0, f.length());
    KvCache cache(f.config, 1, f.length(), GetParam().dtype);
    const at::Tensor expected =
        model.logits(model.forward(f.tokens.narrow(0, i, 1), cache, &sparse))[0];
    EXPECT_LT(furthest(logits[i], expected), tolerance) << i;
  }
}

TEST_P(Training, GradientsAreThoseOfPlainOperations) {
  if (GetParam().dtype != at::kFloat) GTEST_SKIP() << "the truth has no roundings";
  Fixture f(GetParam());
  f.weights.forget_gradients();
  const at::Tensor sum = f.decoder.learn(f.tokens, f.attention, f.scale(), /*recompute=*/true);
  const test::PlainWeights plain = test::plain_weights(f.config, f.checkpoint);
  at::Tensor loss = at::zeros({}, at::kDouble);
  for (std::int64_t i = 0; i < f.batch(); ++i)
    loss = loss + test::plain_loss(f.config, plain, f.tokens[i], f.masks(i));
  loss = loss / static_cast<double>(f.batch());
  loss.backward();
  EXPECT_NEAR(sum.item<double>() * f.scale(), loss.item<double>(), 1e-6);
  for (const auto& [name, value] : plain) {
    const at::Tensor got = f.weights.weight({name}).gradient;
    const double size = value.grad().abs().max().item<double>();
    // Relative to the largest of the tensor's gradient: float32 sums of some hundred rows.
    EXPECT_LT(furthest(got, value.grad()), 2e-5 * size + 1e-7) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Training,
    testing::Values(Case{"llama31", "dense", 130}, Case{"llama-yarn", "gate:ratio=0.3", 200},
                    Case{"qwen2", "gate:ratio=0.3", 97, 2}, Case{"qwen3", "gate:ratio=0.5", 130, 2},
                    Case{"qwen3", "gate:threshold=0.2", 100}, Case{"llama31", "dense", 64, 3},
                    Case{"llama31", "streaming:ratio=0.3", 300}, Case{"qwen2", "dense", 9},
                    Case{"llama31", "gate:ratio=0.3", 200, 1, at::kBFloat16}));

TEST(TrainableDecoder, RecomputingChangesNoBit) {
  const Case of{"qwen3", "gate:ratio=0.3", 200, 2};
  std::vector<at::Tensor> gradients;
  for (const bool recompute : {true, false}) {
    Fixture f(of);
    f.weights.forget_gradients();
    f.decoder.learn(f.tokens, f.attention, f.scale(), recompute);
    gradients.push_back(at::cat({f.weights.matrix_gradients(), f.weights.vector_gradients()}));
  }
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
}

TEST(TrainableDecoder, SequencesTogetherAndOneByOneHaveTheSameGradients) {
  Fixture together({"llama31", "gate:ratio=0.3", 150, 3});
  together.weights.forget_gradients();
  together.decoder.learn(together.tokens, together.attention, together.scale(), true);
  Fixture apart({"llama31", "gate:ratio=0.3", 150, 1});
  apart.weights.forget_gradients();
  for (std::int64_t i = 0; i < 3; ++i) {
    apart.attention.begin(1, 150, 0);
    apart.decoder.learn(together.tokens.narrow(0, i, 1), apart.attention, together.scale(), true);
  }
  const at::Tensor expected = together.weights.matrix_gradients();
  EXPECT_LT(furthest(apart.weights.matrix_gradients(), expected),
            1e-5 * expected.abs().max().item<double>());
}

TEST(TrainableDecoder, GatesLearnFromTheMapAlone) {
  // With and without the gates learning, the model's gradients have the same bits; and the gates' are there.
  std::vector<at::Tensor> gradients;
  for (const double weight : {0.0, 10.0}) {
    Fixture f({"llama31", "gate:ratio=0.3", 200}, weight);
    f.gates.set_requires_grad(true);
    f.weights.forget_gradients();
    f.decoder.learn(f.tokens, f.attention, f.scale(), true);
    gradients.push_back(f.weights.matrix_gradients().clone());
    for (const GateParameter& parameter : f.gates.parameters()) {
      EXPECT_EQ(parameter.value.grad().defined(), weight > 0) << parameter.name;
      if (weight > 0) {
        EXPECT_GT(parameter.value.grad().abs().max().item<double>(), 0);
      }
    }
    EXPECT_EQ(f.attention.gate_loss().defined(), weight > 0);
    EXPECT_LT(f.attention.density(), 0.5);
  }
  EXPECT_TRUE(at::equal(gradients[0], gradients[1]));
}

// What a gate learns is what distillation teaches it: the same model, the same map, the same loss.
TEST(TrainableDecoder, GatesLearnWhatDistillationTeaches) {
  Fixture f({"llama31", "gate:ratio=1", 200}, /*gate_weight=*/2);
  f.gates.set_requires_grad(true);
  f.decoder.learn(f.tokens, f.attention, f.scale(), true);
  GateSet distilled(f.gates.config(), f.config);
  distilled.initialise(GateInit::kIdentity, 3);
  distilled.set_requires_grad(true);
  DistillOptions options{
      .context = 200, .target_power = f.options.gate_loss.target_power, .row_slice = 0};
  DistillAttention teacher(distilled, options, /*weight=*/2, {});
  const Model model(f.config, f.checkpoint, {});
  KvCache cache(f.config, 1, 200, at::kFloat);
  model.forward(f.tokens, cache, &teacher);
  double sum = 0;
  for (const double loss : teacher.losses()) sum += loss;
  EXPECT_NEAR(f.attention.gate_loss().item<double>(), sum, 1e-5 * sum);
  const std::vector<GateParameter> got = f.gates.parameters(), expected = distilled.parameters();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const at::Tensor& truth = expected[i].value.grad();
    EXPECT_LT(furthest(got[i].value.grad(), truth), 1e-4 * truth.abs().max().item<double>())
        << got[i].name;
  }
}

TEST(TrainableDecoder, LibTorchsAttentionGivesTheSameGradients) {
  std::vector<at::Tensor> gradients;
  for (const AttentionBackend backend : {AttentionBackend::kSeer, AttentionBackend::kSdpa}) {
    Fixture f({"qwen2", "dense", 130});
    f.options.attention = backend;
    f.weights.forget_gradients();
    f.decoder.learn(f.tokens, f.attention, f.scale(), true);
    gradients.push_back(f.weights.matrix_gradients());
  }
  EXPECT_LT(furthest(gradients[0], gradients[1]), 1e-5 * gradients[0].abs().max().item<double>());
}

TEST(TokenLoss, ManyRowsInPieces) {
  // More rows than go at once, two sequences, and a vocabulary of a few.
  const std::int64_t rows = 2 * 1500, width = 8, vocab = 11;
  at::manual_seed(1);
  const at::Tensor hidden = at::randn({rows, width});
  const TrainedWeight output{.value = at::randn({vocab, width}),
                             .gradient = at::zeros({vocab, width})};
  const at::Tensor tokens = at::randint(vocab, {2, 1500}, at::kLong);
  const at::Tensor grad = at::empty_like(hidden);
  const at::Tensor sum = learn_tokens(hidden, output, next_tokens(tokens), 0.5, grad);
  const at::Tensor h = hidden.to(at::kDouble).set_requires_grad(true);
  const at::Tensor w = output.value.to(at::kDouble).set_requires_grad(true);
  const at::Tensor logits = h.matmul(w.t()).view({2, 1500, vocab}).narrow(1, 0, 1499);
  const at::Tensor expected =
      at::cross_entropy_loss(logits.reshape({-1, vocab}), tokens.narrow(1, 1, 1499).reshape({-1}),
                             /*weight=*/{}, at::Reduction::Sum);
  (expected * 0.5).backward();
  EXPECT_NEAR(sum.item<double>(), expected.item<double>(), 1e-6 * expected.item<double>());
  EXPECT_EQ(sum.item<double>(),
            token_loss(hidden, output.value, next_tokens(tokens)).item<double>());
  EXPECT_LT(furthest(grad, h.grad()), 1e-5);
  EXPECT_LT(furthest(output.gradient, w.grad()), 1e-5 * w.grad().abs().max().item<double>());
}

}  // namespace
}  // namespace seer
