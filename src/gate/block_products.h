// The largest products of block pairs by LibTorch's matrix products: on any device.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "base/ceil_div.h"

namespace seer {

// Representatives against representatives, block by block.
struct BlockPairs {
  std::int64_t q_len, kv_len, block_size;
  std::int64_t rows_per_block, keys_per_block;  // representatives
  double scale;

  std::int64_t q_blocks() const { return ceil_div(q_len, block_size); }
  std::int64_t kv_blocks() const { return ceil_div(kv_len, block_size); }
  // Key blocks that the last query of this query block sees any of.
  std::int64_t visible_blocks(std::int64_t q_block) const {
    const std::int64_t queries = std::min((q_block + 1) * block_size, q_len);
    return ceil_div(kv_len - q_len + queries, block_size);
  }
};

struct LargestProducts {
  at::Tensor logits;  // [b, Hq, query blocks, key blocks], -inf where nothing is visible
  // int32 as the logits: which pair of representatives gave the maximum (the first of equals), as row * keys_per_block +
  // key, both counted inside their blocks. Undefined where it was not asked for.
  at::Tensor pair_of;
};

// A few query blocks of all heads at a time, so that memory does not grow with the square of the length besides the
// results.
LargestProducts largest_products(const BlockPairs& pairs, const at::Tensor& q_reps,
                                 const at::Tensor& k_reps, bool wants_pairs);

struct ProductGradients {
  at::Tensor q_reps, k_reps;
};

// Of the sum of logits * grad.
ProductGradients product_gradients(const BlockPairs& pairs, const at::Tensor& q_reps,
                                   const at::Tensor& k_reps, const at::Tensor& grad,
                                   const at::Tensor& pair_of);

}  // namespace seer
