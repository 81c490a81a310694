#include "bench/kernels/attention_check.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

namespace seer::bench {
namespace {

constexpr int kRandomBlocks = 6;
// Rounding of inputs' products and sums in float32, and of probabilities and results in bfloat16 (float16: less).
constexpr double kFloat32Tolerance = 2e-5;
constexpr double kBFloat16Tolerance = 1e-2;

// A difference that is not a number is larger than any tolerance.
double or_infinity(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

// One query block of one head.
Difference compare_block(const AttentionProblem& problem, const at::Tensor& block_mask,
                         const at::Tensor& out, const at::Tensor& block_map, std::int64_t batch,
                         std::int64_t head, std::int64_t q_block) {
  const CausalBlocks& blocks = problem.blocks;
  const std::int64_t kv_head = head / (problem.q.size(1) / problem.k.size(1));
  const std::int64_t begin = q_block * blocks.block_size;
  const std::int64_t end = std::min(begin + blocks.block_size, blocks.q_len);
  const std::int64_t num_keys = std::min(end + blocks.kv_len - blocks.q_len, blocks.kv_len);
  const std::int64_t num_visible = blocks.num_visible(q_block);

  const auto wide = [&](const at::Tensor& tensor, std::int64_t of_head, std::int64_t first,
                        std::int64_t last) {
    return tensor[batch][of_head].slice(0, first, last).cpu().to(at::kDouble);
  };
  at::Tensor scores = at::matmul(wide(problem.q, head, begin, end),
                                 wide(problem.k, kv_head, 0, num_keys).transpose(0, 1)) /
                      std::sqrt(static_cast<double>(problem.q.size(3)));
  const at::Tensor queries = at::arange(begin, end).unsqueeze(1) + (blocks.kv_len - blocks.q_len);
  const at::Tensor keys = at::arange(num_keys);
  at::Tensor hidden = keys.gt(queries);
  if (block_mask.defined()) {
    const at::Tensor kept =
        block_mask[batch % block_mask.size(0)][head % block_mask.size(1)][q_block]
            .slice(0, 0, num_visible)
            .cpu();
    const at::Tensor kept_keys = kept.repeat_interleave(blocks.block_size).slice(0, 0, num_keys);
    hidden = hidden.logical_or(kept_keys.logical_not());
  }
  const at::Tensor probabilities =
      scores.masked_fill_(hidden, -std::numeric_limits<double>::infinity()).softmax(-1);
  Difference worst =
      difference_of(out[batch][head].slice(0, begin, end).cpu(),
                    at::matmul(probabilities, wide(problem.v, kv_head, 0, num_keys)));
  if (block_map.defined()) {
    const std::int64_t padding = num_visible * blocks.block_size - num_keys;
    const at::Tensor map = at::constant_pad_nd(probabilities, {0, padding})
                               .view({end - begin, num_visible, blocks.block_size})
                               .amax({0, 2});
    raise_to(worst,
             difference_of(block_map[batch][head][q_block].slice(0, 0, num_visible).cpu(), map));
  }
  return worst;
}

}  // namespace

Difference difference_of(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor wide = expected.to(at::kDouble);
  const at::Tensor difference = actual.to(at::kDouble) - wide;
  const double norm = wide.norm().item<double>();
  const double difference_norm = difference.norm().item<double>();
  return {or_infinity(difference.abs().max().item<double>()),
          or_infinity(difference_norm == 0 ? 0 : difference_norm / norm)};
}

void raise_to(Difference& worst, const Difference& other) {
  worst.absolute = std::max(worst.absolute, other.absolute);
  worst.relative = std::max(worst.relative, other.relative);
}

Difference compare_heads(const at::Tensor& out, const at::Tensor& expected) {
  Difference worst;
  for (std::int64_t batch = 0; batch < out.size(0); ++batch) {
    for (std::int64_t head = 0; head < out.size(1); ++head) {
      raise_to(worst, difference_of(out[batch][head], expected[batch][head]));
    }
  }
  return worst;
}

Difference compare_some_blocks(const AttentionProblem& problem, const at::Tensor& block_mask,
                               const at::Tensor& out, const at::Tensor& block_map,
                               std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto draw = [&](std::int64_t count) {
    return std::uniform_int_distribution<std::int64_t>(0, count - 1)(random);
  };
  Difference worst;
  const std::int64_t num_q_blocks = problem.blocks.num_q_blocks();
  for (int block = 0; block < kRandomBlocks + 2; ++block) {
    const std::int64_t q_block = block == 0   ? 0
                                 : block == 1 ? num_q_blocks - 1
                                              : draw(num_q_blocks);
    const std::int64_t batch = draw(problem.q.size(0));
    const std::int64_t head = draw(problem.q.size(1));
    raise_to(worst, compare_block(problem, block_mask, out, block_map, batch, head, q_block));
  }
  return worst;
}

void require_agreement(const Difference& difference, at::ScalarType dtype, const std::string& name,
                       double slack) {
  const double tolerance = slack * (dtype == at::kFloat ? kFloat32Tolerance : kBFloat16Tolerance);
  if (difference.relative <= tolerance) return;
  throw std::runtime_error(
      fmt::format("{}: the result is wrong, so no time is reported: relative difference {:.3g} "
                  "(at most {:.3g} is rounding), largest absolute difference {:.3g}",
                  name, difference.relative, tolerance, difference.absolute));
}

}  // namespace seer::bench
