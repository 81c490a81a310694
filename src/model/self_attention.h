// The attention of one decoder layer: projections, norms of queries and keys, RoPE, the cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "model/layers.h"
#include "seer/model.h"
#include "seer/rope.h"

namespace seer {

// Called after each part; may be empty.
using PartWatch = std::function<void(LayerPart)>;

// A run of packed rows that belong to one sequence.
struct SequenceRows {
  KvCache* cache;
  std::int64_t cache_row;  // which sequence of the cache
  std::int64_t first;      // packed row
  std::int64_t length;
  std::int64_t past;  // tokens in the cache before these
  Attention* attention;
};

struct SelfAttention {
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  Linear qkv;  // the rows of q, then k, then v
  Linear output;
  std::optional<RmsNorm> q_norm, k_norm;  // over head_dim, before RoPE

  // Adds its result for x [rows, hidden] to `sum` of the same shape; the table has a row for each. Writes keys and values
  // of `layer` to the caches behind `past`.
  void add_to(const at::Tensor& sum, const at::Tensor& x, const RopeTable& table,
              std::span<const SequenceRows> sequences, std::int64_t layer,
              const PartWatch& after_part) const;
};

}  // namespace seer
