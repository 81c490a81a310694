// Products of queries and keys where several query heads read one key head.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace seer {

// q [1, num_q_heads, n, d], k [1, num_kv_heads, m, d] of one dtype (float32, bfloat16, float16), on any device. Returns
// float32 [num_q_heads, n, m], accumulated in float32.
at::Tensor grouped_products(const at::Tensor& q, const at::Tensor& k);

// As many as fit into what one product may take, in rows of `tokens` queries times `columns`: at least 1.
std::int64_t rows_at_once(std::int64_t heads, std::int64_t tokens, std::int64_t columns);

}  // namespace seer
