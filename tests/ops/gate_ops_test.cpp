// The operators of a gate on the CPU: their plain references against LibTorch's own operations, and their contracts.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/ceil_div.h"
#include "seer/ops.h"

namespace seer {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// [query blocks, key blocks]
at::Tensor hidden_blocks(std::int64_t q_len, std::int64_t kv_len, std::int64_t block_size) {
  at::Tensor hidden =
      at::ones({ceil_div(q_len, block_size), ceil_div(kv_len, block_size)}, at::kBool);
  for (std::int64_t query = 0; query < q_len; ++query) {
    const std::int64_t last = (query + kv_len - q_len) / block_size;
    hidden[query / block_size].narrow(0, 0, last + 1).fill_(false);
  }
  return hidden;
}

at::Tensor expected_logits(const at::Tensor& q, const at::Tensor& k, std::int64_t q_len,
                           std::int64_t kv_len, std::int64_t block_size, std::int64_t q_tokens,
                           std::int64_t k_tokens, double scale) {
  const std::int64_t q_blocks = ceil_div(q_len, block_size),
                     kv_blocks = ceil_div(kv_len, block_size);
  const at::Tensor products =
      at::matmul(q.to(at::kDouble),
                 k.to(at::kDouble).repeat_interleave(q.size(1) / k.size(1), 1).transpose(2, 3)) *
      scale;
  const std::int64_t rows = block_size / q_tokens, keys = block_size / k_tokens;
  return at::constant_pad_nd(products,
                             {0, kv_blocks * keys - k.size(2), 0, q_blocks * rows - q.size(2)},
                             kMinusInfinity)
      .view({q.size(0), q.size(1), q_blocks, rows, kv_blocks, keys})
      .amax({3, 5})
      .masked_fill(hidden_blocks(q_len, kv_len, block_size), kMinusInfinity);
}

struct Lengths {
  std::int64_t q_len, kv_len, q_tokens, k_tokens;
};

TEST(GateOps, BlockLogitsAreTheLargestProducts) {
  at::manual_seed(1);
  for (const auto& [q_len, kv_len, q_tokens, k_tokens] :
       {Lengths{1, 1, 64, 64}, Lengths{63, 64, 16, 64}, Lengths{65, 65, 16, 32},
        Lengths{130, 300, 64, 16}, Lengths{200, 201, 4, 64}}) {
    const at::Tensor q = at::randn({2, 4, ceil_div(q_len, q_tokens), 8}, at::kDouble);
    const at::Tensor k = at::randn({2, 2, ceil_div(kv_len, k_tokens), 8}, at::kDouble);
    const at::Tensor logits = gate_block_logits(q, k, q_len, kv_len, 64, q_tokens, k_tokens, 0.5);
    const at::Tensor expected = expected_logits(q, k, q_len, kv_len, 64, q_tokens, k_tokens, 0.5);
    EXPECT_TRUE(at::allclose(logits.to(at::kDouble), expected, 1e-6, 1e-6)) << q_len;

    const at::Tensor probabilities = expected.softmax(-1);
    for (const std::string policy :
         {"dense", "gate:ratio=0.3,sink=1", "gate:budget=128,local=2,dense_rows=1",
          "gate:threshold=0.2", "gate:mass=0.6"}) {
      const bool by_order =
          policy.find("ratio") != std::string::npos || policy.find("budget") != std::string::npos;
      EXPECT_TRUE(
          at::equal(select_gate_blocks(q, k, policy, std::nullopt, q_len, kv_len, 64, q_tokens,
                                       k_tokens, 0.5),
                    select_blocks(by_order ? expected : probabilities, policy, q_len, kv_len, 64)))
          << policy;
    }
    const at::Tensor thresholds = at::tensor({0.1f, 0.2f, 0.3f, 0.4f});
    EXPECT_TRUE(at::equal(select_gate_blocks(q, k, "gate:threshold=0", thresholds, q_len, kv_len,
                                             64, q_tokens, k_tokens, 0.5),
                          probabilities > thresholds.view({1, 4, 1, 1}).to(at::kDouble)));
  }
}

TEST(GateOps, RepresentativesAreMappedNormalisedAndTurned) {
  at::manual_seed(2);
  const at::Tensor pooled = at::randn({2, 2, 5, 12}, at::kDouble);
  const at::Tensor map = at::randn({4, 8, 12}, at::kDouble), norm = at::rand({8}) + 0.5;
  const at::Tensor angles = at::rand({5, 4}) * 6, cos = angles.cos(), sin = angles.sin();
  at::Tensor expected = at::matmul(pooled.repeat_interleave(2, 1), map.transpose(1, 2));
  EXPECT_TRUE(
      at::allclose(gate_representatives(pooled, map, std::nullopt, std::nullopt, std::nullopt, 0.0)
                       .to(at::kDouble),
                   expected, 1.0 / 128));
  expected = expected / (expected.square().mean(-1, true) + 1e-6).sqrt() * norm;
  const at::Tensor first = expected.narrow(3, 0, 4), second = expected.narrow(3, 4, 4);
  expected = at::cat({first * cos - second * sin, second * cos + first * sin}, 3);
  const at::Tensor reps = gate_representatives(pooled, map, norm, cos, sin, 1e-6);
  EXPECT_EQ(reps.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(reps.to(at::kDouble), expected, 1.0 / 128, 1e-3));
}

TEST(GateOps, RopeAndPoolIsBoth) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({70, 3, 8}), angles = at::rand({70, 4}) * 6;
  const at::Tensor cos = angles.cos(), sin = angles.sin();
  const at::Tensor turned = at::empty_like(x), in_place = x.clone();
  rope(x, cos, sin, turned);
  const at::Tensor expected = pool_blocks(x.transpose(0, 1).unsqueeze(0), 16, "maxavg");
  EXPECT_TRUE(at::equal(rope_and_pool(in_place, cos, sin, in_place, 16, "maxavg"), expected));
  EXPECT_TRUE(at::equal(in_place, turned));
}

TEST(GateOps, RefuseWhatTheyCannotServe) {
  const auto expect_error = [](const auto& call, const std::string& message) {
    try {
      call();
      ADD_FAILURE() << "no error: " << message;
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what_without_backtrace()).find(message), std::string::npos)
          << error.what_without_backtrace();
    }
  };
  const at::Tensor q = at::zeros({1, 4, 2, 8}), k = at::zeros({1, 2, 2, 8});
  expect_error([&] { gate_block_logits(q, k, 128, 64, 64, 64, 64, 1.0); },
               "q_len=128 and kv_len=64: expected 0 <= q_len <= kv_len");
  expect_error([&] { gate_block_logits(q, k, 128, 128, 64, 48, 64, 1.0); },
               "q_tokens=48 and k_tokens=64: expected divisors of block_size=64");
  expect_error([&] { gate_block_logits(q, k, 200, 200, 64, 64, 64, 1.0); },
               "q_reps: expected 4 representatives (200 tokens, 64 each), got 2");
  expect_error(
      [&] {
        select_gate_blocks(q, k, "gate:ratio=0.1", at::zeros({4}), 128, 128, 64, 64, 64, 1.0);
      },
      "thresholds: expected none beside policy 'gate:ratio=0.1'");
  expect_error(
      [&] {
        select_gate_blocks(q, k, "gate:threshold=0.1", at::zeros({3}), 128, 128, 64, 64, 64, 1.0);
      },
      "thresholds: expected float32 [4]");
  expect_error(
      [&] {
        gate_representatives(q, at::zeros({3, 8, 8}), {}, {}, {}, 0.0);
      },
      "map: expected [a multiple of 4 heads, width, 8]");
}

}  // namespace
}  // namespace seer
