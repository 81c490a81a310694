// The gate's operators on the GPU, against the double reference on the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>

#include "base/ceil_div.h"
#include "ops/gpu/gpu_test.h"
#include "seer/ops.h"

namespace seer::test {
namespace {

class GpuGate : public GpuTest {};

at::Tensor random_reps(at::IntArrayRef sizes) {
  return at::randn(sizes, at::TensorOptions(at::kCUDA)).mul(1.5).to(at::kBFloat16);
}

struct Sizes {
  std::int64_t q_len, kv_len, block_size, q_tokens, k_tokens, heads, key_heads, width, batch;
};

// Lengths of one token, of a block and one more; fewer queries than keys; one and several representatives on each side; rows
// longer than registers hold; enough rows for large tiles.
constexpr Sizes kSizes[] = {
    {1, 1, 64, 16, 64, 2, 2, 128, 1},         {65, 65, 64, 16, 64, 3, 1, 128, 2},
    {1000, 5000, 64, 16, 64, 8, 8, 128, 1},   {8200, 8200, 64, 16, 64, 32, 8, 64, 1},
    {24000, 24000, 64, 64, 64, 4, 4, 128, 1}, {3001, 3001, 64, 32, 32, 2, 1, 64, 1},
    {2000, 2500, 64, 4, 64, 2, 2, 128, 1},    {1500, 1500, 64, 8, 16, 2, 2, 64, 1},
    {1500, 1500, 128, 16, 128, 2, 2, 64, 2},  {70, 200000, 64, 16, 64, 2, 2, 128, 1}};

std::string describe(const Sizes& sizes) {
  return "q_len " + std::to_string(sizes.q_len) + ", kv_len " + std::to_string(sizes.kv_len) +
         ", q_tokens " + std::to_string(sizes.q_tokens) + ", k_tokens " +
         std::to_string(sizes.k_tokens) + ", width " + std::to_string(sizes.width);
}

struct Reps {
  at::Tensor q, k;
};

Reps reps_of(const Sizes& sizes) {
  return {
      random_reps({sizes.batch, sizes.heads, ceil_div(sizes.q_len, sizes.q_tokens), sizes.width}),
      random_reps(
          {sizes.batch, sizes.key_heads, ceil_div(sizes.kv_len, sizes.k_tokens), sizes.width})};
}

at::Tensor logits_of(const Reps& reps, const Sizes& sizes) {
  return gate_block_logits(reps.q, reps.k, sizes.q_len, sizes.kv_len, sizes.block_size,
                           sizes.q_tokens, sizes.k_tokens, 1 / std::sqrt(sizes.width));
}

at::Tensor choice_of(const Reps& reps, const Sizes& sizes, const std::string& policy,
                     const std::optional<at::Tensor>& thresholds = std::nullopt) {
  return select_gate_blocks(reps.q, reps.k, policy, thresholds, sizes.q_len, sizes.kv_len,
                            sizes.block_size, sizes.q_tokens, sizes.k_tokens,
                            1 / std::sqrt(sizes.width));
}

TEST_F(GpuGate, BlockLogits) {
  at::manual_seed(1);
  for (const Sizes& sizes : kSizes) {
    const Reps reps = reps_of(sizes);
    const at::Tensor logits = logits_of(reps, sizes).cpu();
    const at::Tensor expected = logits_of({reps.q.cpu(), reps.k.cpu()}, sizes);
    EXPECT_TRUE(at::equal(logits.isinf(), expected.isinf())) << describe(sizes);
    // Sums of 128 products of about 2, in float32.
    EXPECT_TRUE(at::allclose(logits, expected, 1e-5, 2e-4)) << describe(sizes);
  }
}

TEST_F(GpuGate, ChoiceByOrderIsThatOfTheLogits) {
  at::manual_seed(2);
  for (const Sizes& sizes : kSizes) {
    const Reps reps = reps_of(sizes);
    const at::Tensor logits = logits_of(reps, sizes);
    for (const std::string policy : {"dense", "gate:ratio=0.1,sink=1", "gate:ratio=0.5",
                                     "gate:budget=192,local=1,dense_rows=2"}) {
      EXPECT_TRUE(
          at::equal(choice_of(reps, sizes, policy),
                    select_blocks(logits, policy, sizes.q_len, sizes.kv_len, sizes.block_size)))
          << describe(sizes) << ", " << policy;
    }
  }
}

TEST_F(GpuGate, ChoiceByProbabilityIsThatOfTheSoftmax) {
  at::manual_seed(3);
  for (const Sizes& sizes : kSizes) {
    const Reps reps = reps_of(sizes);
    const at::Tensor probabilities = at::softmax(logits_of(reps, sizes).to(at::kDouble), -1);
    const double even = static_cast<double>(sizes.block_size) / static_cast<double>(sizes.kv_len);
    const std::string threshold = "gate:threshold=" + std::to_string(std::min(0.9, 1.5 * even));
    for (const std::string& policy :
         {threshold, threshold + ",sink=1,local=1", std::string("gate:mass=0.9")}) {
      const at::Tensor expected =
          select_blocks(probabilities.cpu(), policy, sizes.q_len, sizes.kv_len, sizes.block_size);
      const at::Tensor chosen = choice_of(reps, sizes, policy);
      const auto others = (chosen.cpu() != expected).sum().item<std::int64_t>();
      // Blocks at the edge may fall on the other side by the rounding of the softmax.
      EXPECT_LE(others, 2 + expected.numel() / 10000) << describe(sizes) << ", " << policy;
      EXPECT_TRUE(at::equal(chosen, choice_of(reps, sizes, policy))) << "not the same twice";
    }
    const at::Tensor thresholds = at::rand({sizes.heads}).mul(2 * even).to(at::kCUDA);
    const at::Tensor chosen = choice_of(reps, sizes, "gate:threshold=0", thresholds);
    const at::Tensor expected = probabilities > thresholds.view({1, -1, 1, 1}).to(at::kDouble);
    EXPECT_LE((chosen != expected).sum().item<std::int64_t>(), 2 + expected.numel() / 10000)
        << describe(sizes);
  }
}

TEST_F(GpuGate, Representatives) {
  at::manual_seed(4);
  struct Case {
    std::int64_t count, heads, out_heads, in, width;
    bool has_map, has_norm, has_angles;
  };
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const Case& one :
         {Case{1, 2, 2, 128, 128, true, false, true}, Case{130, 8, 32, 384, 128, true, false, true},
          Case{70, 4, 4, 128, 128, false, false, true}, Case{257, 2, 6, 192, 64, true, true, true},
          Case{64, 3, 3, 64, 64, false, true, false}, Case{0, 2, 2, 128, 128, true, false, true}}) {
      const auto options = at::TensorOptions(at::kCUDA);
      const at::Tensor pooled = at::randn({2, one.heads, one.count, one.in}, options).to(type);
      std::optional<at::Tensor> map, norm, cos, sin;
      if (one.has_map)
        map = at::randn({one.out_heads, one.width, one.in}, options).mul(0.1).to(type);
      if (one.has_norm) norm = at::rand({one.width}, options) + 0.5;
      if (one.has_angles) {
        // Every fourth row of a longer table, as of representatives of four tokens.
        const at::Tensor angles = at::rand({4 * one.count + 1, one.width / 2}, options).mul(6);
        cos = angles.cos().slice(0, 0, 4 * one.count, 4);
        sin = angles.sin().slice(0, 0, 4 * one.count, 4);
      }
      const at::Tensor reps = gate_representatives(pooled, map, norm, cos, sin, 1e-6);
      const auto wide = [](const std::optional<at::Tensor>& x, at::ScalarType to) {
        return x ? std::optional<at::Tensor>(x->cpu().to(to)) : std::nullopt;
      };
      const at::Tensor expected =
          gate_representatives(pooled.cpu().to(at::kDouble), wide(map, at::kDouble),
                               wide(norm, at::kFloat), wide(cos, at::kFloat), wide(sin, at::kFloat),
                               1e-6)
              .to(at::kDouble);
      ASSERT_EQ(reps.sizes(), expected.sizes());
      if (reps.numel() == 0) continue;
      // One rounding to bfloat16 on each side.
      const double error =
          ((reps.cpu().to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
      EXPECT_LE(error, 4e-3) << one.count << " representatives, " << one.in << " inputs";
    }
  }
}

TEST_F(GpuGate, RefuseSizesWithoutKernel) {
  const at::Tensor q = random_reps({1, 2, 4, 96}), k = random_reps({1, 2, 1, 96});
  EXPECT_THROW(gate_block_logits(q, k, 64, 64, 64, 16, 64, 1.0), c10::Error);
  const at::Tensor pooled = random_reps({1, 2, 4, 96});
  EXPECT_THROW(gate_representatives(pooled, {}, {}, {}, {}, 0.0), c10::Error);
}

}  // namespace
}  // namespace seer::test
