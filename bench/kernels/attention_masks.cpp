#include "bench/kernels/attention_masks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

namespace seer::bench {
namespace {

std::int64_t blocks_of(std::int64_t length, std::int64_t block_size) {
  return (length + block_size - 1) / block_size;
}

using Place = std::pair<std::int32_t, std::int32_t>;  // query block, key block

// The blocks that the first query of the row's block and the last one see last: one block when
// lengths differ by whole blocks, else two.
bool is_diagonal(const CausalBlocks& blocks, std::int64_t q_block, std::int64_t kv_block) {
  const std::int64_t first_key = q_block * blocks.block_size + blocks.kv_len - blocks.q_len;
  return kv_block >= first_key / blocks.block_size && kv_block < blocks.num_visible(q_block);
}

void fill_head(const CausalBlocks& blocks, double density, std::mt19937_64& random, bool* mask) {
  const std::int64_t width = blocks.num_kv_blocks();
  std::vector<Place> optional;
  std::int64_t always = 0;
  for (std::int64_t row = 0; row < blocks.num_q_blocks(); ++row) {
    for (std::int64_t column = 0; column < blocks.num_visible(row); ++column) {
      if (column == 0 || is_diagonal(blocks, row, column)) {
        mask[row * width + column] = true;
        ++always;
      } else {
        optional.emplace_back(static_cast<std::int32_t>(row), static_cast<std::int32_t>(column));
      }
    }
  }
  const auto triangle = static_cast<double>(always + static_cast<std::int64_t>(optional.size()));
  const std::int64_t wanted = std::llround(density * triangle) - always;
  const std::int64_t count =
      std::clamp<std::int64_t>(wanted, 0, static_cast<std::int64_t>(optional.size()));
  // The first `count` places of a shuffle.
  for (std::int64_t i = 0; i < count; ++i) {
    std::uniform_int_distribution<std::size_t> rest(i, optional.size() - 1);
    std::swap(optional[i], optional[rest(random)]);
    mask[optional[i].first * width + optional[i].second] = true;
  }
}

// The pattern that every mask is between: what is visible, and what is always kept of it.
struct CausalPattern {
  at::Tensor visible, always;  // bool [query blocks, key blocks]
};

CausalPattern causal_pattern(const CausalBlocks& blocks) {
  const auto make = [&] {
    return at::zeros({blocks.num_q_blocks(), blocks.num_kv_blocks()}, at::kBool);
  };
  CausalPattern pattern{make(), make()};
  bool* visible = pattern.visible.mutable_data_ptr<bool>();
  bool* always = pattern.always.mutable_data_ptr<bool>();
  const std::int64_t width = blocks.num_kv_blocks();
  for (std::int64_t row = 0; row < blocks.num_q_blocks(); ++row) {
    for (std::int64_t column = 0; column < blocks.num_visible(row); ++column) {
      visible[row * width + column] = true;
      always[row * width + column] = column == 0 || is_diagonal(blocks, row, column);
    }
  }
  return pattern;
}

// As random_block_mask() on a device where sorting a head's blocks would take long.
at::Tensor drawn_block_mask(const CausalBlocks& blocks, std::int64_t batch, std::int64_t heads,
                            double density, std::uint64_t seed, c10::Device device) {
  const CausalPattern pattern = causal_pattern(blocks);
  const double triangle = pattern.visible.sum().item<double>();
  const double always = pattern.always.sum().item<double>();
  const double share =
      triangle > always ? std::clamp((density * triangle - always) / (triangle - always), 0.0, 1.0)
                        : 1.0;
  at::manual_seed(seed);
  const at::Tensor drawn = at::rand({batch, heads, blocks.num_q_blocks(), blocks.num_kv_blocks()},
                                    at::TensorOptions(at::kFloat).device(device)) < share;
  return (drawn & pattern.visible.to(device)) | pattern.always.to(device);
}

}  // namespace

std::int64_t CausalBlocks::num_q_blocks() const {
  return blocks_of(q_len, block_size);
}
std::int64_t CausalBlocks::num_kv_blocks() const {
  return blocks_of(kv_len, block_size);
}

std::int64_t CausalBlocks::num_visible(std::int64_t q_block) const {
  const std::int64_t queries_end = std::min((q_block + 1) * block_size, q_len);
  return blocks_of(std::clamp<std::int64_t>(queries_end + kv_len - q_len, 0, kv_len), block_size);
}

std::int64_t CausalBlocks::visible_pairs(std::int64_t q_block, std::int64_t kv_block) const {
  const std::int64_t keys_begin = kv_block * block_size;
  const std::int64_t keys = std::min(keys_begin + block_size, kv_len) - keys_begin;
  const std::int64_t queries_begin = q_block * block_size;
  const std::int64_t queries_end = std::min(queries_begin + block_size, q_len);
  const std::int64_t seen_by_first = queries_begin + 1 + kv_len - q_len;
  if (seen_by_first >= keys_begin + keys) return (queries_end - queries_begin) * keys;
  std::int64_t pairs = 0;
  for (std::int64_t q = queries_begin; q < queries_end; ++q) {
    pairs += std::clamp<std::int64_t>(q + 1 + kv_len - q_len - keys_begin, 0, keys);
  }
  return pairs;
}

at::Tensor random_block_mask(const CausalBlocks& blocks, std::int64_t batch, std::int64_t heads,
                             double density, std::uint64_t seed, c10::Device device) {
  if (!device.is_cpu()) return drawn_block_mask(blocks, batch, heads, density, seed, device);
  at::Tensor mask =
      at::zeros({batch, heads, blocks.num_q_blocks(), blocks.num_kv_blocks()}, at::kBool);
  std::mt19937_64 random(seed);
  bool* head_mask = mask.mutable_data_ptr<bool>();
  for (std::int64_t head = 0; head < batch * heads; ++head) {
    fill_head(blocks, density, random, head_mask);
    head_mask += blocks.num_q_blocks() * blocks.num_kv_blocks();
  }
  return mask;
}

KeptWork count_kept(const CausalBlocks& blocks, const at::Tensor& block_mask) {
  const std::int64_t num_heads = block_mask.size(0) * block_mask.size(1);
  // [query blocks, key blocks]: how many heads keep the block.
  const at::Tensor heads_that_keep =
      block_mask.sum(at::IntArrayRef({0, 1}), false, at::kLong).cpu().contiguous();
  const auto* const counts = heads_that_keep.const_data_ptr<std::int64_t>();
  const std::int64_t width = blocks.num_kv_blocks();
  double kept = 0, triangle = 0, kept_pairs = 0, pairs = 0;
  for (std::int64_t row = 0; row < blocks.num_q_blocks(); ++row) {
    for (std::int64_t column = 0; column < blocks.num_visible(row); ++column) {
      const auto block_pairs = static_cast<double>(blocks.visible_pairs(row, column));
      const auto count = static_cast<double>(counts[row * width + column]);
      kept += count;
      kept_pairs += count * block_pairs;
      triangle += static_cast<double>(num_heads);
      pairs += block_pairs * static_cast<double>(num_heads);
    }
  }
  return {kept / triangle, kept_pairs / pairs, kept_pairs};
}

}  // namespace seer::bench
