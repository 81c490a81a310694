#include "selection/block_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace seer {
namespace {

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): the output function of SplitMix64.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

std::int64_t BlockGrid::visible_in_row(std::int64_t row) const {
  const std::int64_t last = past() + std::min((row + 1) * block_size, q_len);
  return (last + block_size - 1) / block_size;
}

std::int64_t BlockGrid::visible() const {
  std::int64_t sum = 0;
  for (std::int64_t row = 0; row < q_blocks(); ++row) sum += visible_in_row(row);
  return sum;
}

at::Tensor BlockGrid::visible_mask(c10::Device device) const {
  return ends_mask(kv_blocks(), 0, device);
}

at::Tensor BlockGrid::ends_mask(std::int64_t sink, std::int64_t local, c10::Device device) const {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor last_keys =
      (at::arange(1, q_blocks() + 1, options) * block_size).clamp_max(q_len) + (past() - 1);
  const at::Tensor last_blocks =
      at::div(last_keys, block_size, /*rounding_mode=*/"floor").unsqueeze(1);
  const at::Tensor blocks = at::arange(kv_blocks(), options).unsqueeze(0);
  return (blocks <= last_blocks) & ((blocks < sink) | (blocks > last_blocks - local));
}

at::Tensor streaming_scores(const BlockGrid& grid, c10::Device device) {
  at::Tensor row = at::arange(grid.kv_blocks(), at::TensorOptions(at::kFloat).device(device));
  if (row.numel() > 0) row.narrow(0, 0, 1).fill_(static_cast<float>(grid.kv_blocks()));
  return row.expand({1, 1, grid.q_blocks(), grid.kv_blocks()}).contiguous();
}

at::Tensor random_scores(const BlockGrid& grid, std::uint64_t seed, std::int64_t layer,
                         std::int64_t heads) {
  at::Tensor scores = at::empty({1, heads, grid.q_blocks(), grid.kv_blocks()}, at::kFloat);
  float* out = scores.mutable_data_ptr<float>();
  const std::uint64_t layer_state = mix(mix(seed) ^ static_cast<std::uint64_t>(layer));
  for (std::int64_t head = 0; head < heads; ++head) {
    const std::uint64_t head_state = mix(layer_state ^ static_cast<std::uint64_t>(head));
    for (std::int64_t row = 0; row < grid.q_blocks(); ++row) {
      const auto first_query = static_cast<std::uint64_t>(grid.past() + row * grid.block_size);
      const std::uint64_t row_state = mix(head_state ^ first_query);
      for (std::int64_t block = 0; block < grid.kv_blocks(); ++block) {
        // 24 bits: what a float holds exactly.
        *out++ =
            static_cast<float>(mix(row_state ^ static_cast<std::uint64_t>(block)) >> 40) * 0x1p-24f;
      }
    }
  }
  return scores;
}

}  // namespace seer
