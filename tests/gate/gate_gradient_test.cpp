// Gradients of gates, in float64 against differences and against LibTorch's own maximum.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "gate_case.h"
#include "seer/gate.h"

namespace seer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The same with operators that LibTorch differentiates; whole blocks, queries and keys of one length.
at::Tensor differentiable_logits(const at::Tensor& q, const at::Tensor& k, std::int64_t rows,
                                 std::int64_t keys, double scale) {
  const std::int64_t group = q.size(1) / k.size(1);
  const at::Tensor products = at::matmul(q, k.repeat_interleave(group, 1).transpose(2, 3)) * scale;
  const std::int64_t q_blocks = q.size(2) / rows;
  const std::int64_t kv_blocks = k.size(2) / keys;
  return products.view({q.size(0), q.size(1), q_blocks, rows, kv_blocks, keys}).amax({3, 5});
}

at::Tensor visible(std::int64_t q_blocks, std::int64_t kv_blocks) {
  return at::ones({q_blocks, kv_blocks}, at::kBool).tril(kv_blocks - q_blocks);
}

struct Gradients {
  at::Tensor q, k;
};

Gradients gradients_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& logits,
                       const at::Tensor& weights, const at::Tensor& seen) {
  (at::where(seen, logits, at::zeros_like(logits)) * weights).sum().backward();
  return {q.grad().clone(), k.grad().clone()};
}

TEST(GateGradient, BlockLogitsAsLibTorchDifferentiates) {
  for (const auto& [rows, keys, key_heads] :
       {std::tuple(1, 1, 6), {4, 1, 6}, {1, 4, 2}, {4, 4, 3}, {16, 2, 1}}) {
    at::manual_seed(3);
    const std::int64_t block = 16;
    const std::int64_t q_blocks = 40;
    const std::int64_t kv_blocks = 50;
    const auto make = [&](std::int64_t heads, std::int64_t count) {
      return at::randn({2, heads, count, 6}, at::kDouble).set_requires_grad(true);
    };
    at::Tensor q = make(6, q_blocks * rows);
    at::Tensor k = make(key_heads, kv_blocks * keys);
    const at::Tensor weights = at::randn({2, 6, q_blocks, kv_blocks}, at::kDouble);
    const at::Tensor seen = visible(q_blocks, kv_blocks);
    const at::Tensor logits = max_block_logits(q, k, q_blocks * block, kv_blocks * block, block,
                                               block / rows, block / keys, 0.3);
    const at::Tensor expected = differentiable_logits(q, k, rows, keys, 0.3);
    EXPECT_TRUE(at::allclose(logits.masked_select(seen), expected.masked_select(seen)));
    EXPECT_TRUE((logits.masked_select(seen.logical_not()) == -kInfinity).all().item<bool>());
    const Gradients ours = gradients_of(q, k, logits, weights, seen);
    q.mutable_grad().reset();
    k.mutable_grad().reset();
    const Gradients theirs = gradients_of(q, k, expected, weights, seen);
    EXPECT_TRUE(at::allclose(ours.q, theirs.q)) << rows << " " << keys;
    EXPECT_TRUE(at::allclose(ours.k, theirs.k)) << rows << " " << keys;
  }
}

TEST(GateGradient, ParametersAgainstDifferences) {
  const ModelConfig model = test::small_model(4, 2, 4);
  for (const char* design :
       {"Qavg_Kmaxminavg", "Qmaxavg_Kmin", "Qavg16_Kmaxminavg16", "Qavg1_Kavg"}) {
    for (const bool qk_norm : {false, true}) {
      GateConfig config = default_gate_config(design, model, 32);
      config.qk_norm = qk_norm;
      GateSet gates(config, model);
      gates.initialise(GateInit::kXavier, 7);
      gates.set_requires_grad(true);
      at::manual_seed(5);
      const at::Tensor q = at::randn({1, 4, 100, 4}, at::kDouble);
      const at::Tensor k = at::randn({1, 2, 132, 4}, at::kDouble);
      const Gate& gate = gates.layer(0);
      at::Tensor weights;
      const auto value = [&] {
        const at::Tensor logits = gate.block_logits(gate.query_representatives(q, 32),
                                                    gate.key_representatives(k, 0), 100, 132);
        EXPECT_EQ(logits.scalar_type(), at::kDouble);
        if (!weights.defined()) weights = at::randn_like(logits);
        return (at::log_softmax(logits, -1).masked_fill(logits == -kInfinity, 0) * weights).sum();
      };
      value().backward();
      for (const GateParameter& parameter : gate.parameters()) {
        const at::Tensor flat = parameter.value.detach().view(-1);
        const at::Tensor grad = parameter.value.grad().view(-1);
        const std::int64_t step = std::max<std::int64_t>(flat.numel() / 12, 1);
        for (std::int64_t i = 0; i < flat.numel(); i += step) {
          // So small that hardly any maximum changes hands; what the float32 parameter took of it is what counts.
          const float before = flat[i].item<float>();
          const float above = before + 0x1p-18f;
          const float below = before - 0x1p-18f;
          flat[i].fill_(above);
          const double up = value().item<double>();
          flat[i].fill_(below);
          const double down = value().item<double>();
          flat[i].fill_(before);
          const double slope = (up - down) / (static_cast<double>(above) - below);
          // Central differences err by the square of the step; the gradient itself is rounded to float32.
          EXPECT_NEAR(grad[i].item<double>(), slope, 1e-4 * (1 + std::abs(slope)))
              << design << " " << parameter.name << " " << i;
        }
      }
    }
  }
}

TEST(GateGradient, NoneFlowsIntoTheModel) {
  const ModelConfig model = test::small_model(4, 2);
  GateSet gates(default_gate_config("Qavg1_Kmaxminavg", model), model);
  gates.initialise(GateInit::kNormal, 1);
  gates.set_requires_grad(true);
  at::Tensor q = at::randn({1, 4, 64, 8}).set_requires_grad(true);
  at::Tensor k = at::randn({1, 2, 64, 8}).set_requires_grad(true);
  const Gate& gate = gates.layer(0);
  gate.block_logits(gate.query_representatives(q, 0), gate.key_representatives(k, 0), 64, 64)
      .sum()
      .backward();
  EXPECT_FALSE(q.grad().defined());
  EXPECT_FALSE(k.grad().defined());
  EXPECT_TRUE(gate.parameters()[0].value.grad().defined());
}

}  // namespace
}  // namespace seer
