// From a layer's projection to its heads, with gradients: forward by the operators that inference runs, so that a model
// in training computes what it will compute afterwards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "seer/rope.h"

namespace seer {

// The heads of a layer.
struct Heads {
  at::Tensor unturned_q = {}, unturned_k = {};  // before RoPE, behind the norms where there are any
  at::Tensor q = {}, k = {}, v = {};            // [rows, heads, head_dim]
};

struct HeadLayout {
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  double eps = 1e-6;  // of the norms
};

// Of the projection [rows, q heads + 2 kv heads, head_dim]: queries, keys, values. The norms' weights [head_dim] may be
// undefined, both. The table has a row for each. Without gradients.
Heads split_heads(const at::Tensor& projected, const at::Tensor& q_norm, const at::Tensor& k_norm,
                  const RopeTable& table, const HeadLayout& layout);
// q, k and v alone, with gradients.
Heads trained_heads(const at::Tensor& projected, const at::Tensor& q_norm, const at::Tensor& k_norm,
                    const RopeTable& table, const HeadLayout& layout);

}  // namespace seer
