// FlexPrefill: each head takes the pattern that its last queries tell, pooled blocks or vertical and slash lines.
//
// Xunhao Lai, Jianqiao Lu, Yao Luo, Yiyuan Ma, Xun Zhou, "FlexPrefill: A Context-Aware Sparse Attention Mechanism for
// Efficient Long-Sequence Inference" (2025), arXiv:2502.20766.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "selection/block_scores.h"

namespace seer {

// The last block_size queries are the representative ones. With the distribution of their attention over key blocks, a, and
// its estimate from means, b = softmax(mean query . mean keys of a block / sqrt(d)), a head is
//   query-aware     where sqrt(JS(a, b)) < tau, in natural logarithms: the estimate is made for all rows
//   vertical-slash  elsewhere: the columns and diagonals of the representative queries' attention
// q [1, num_q_heads, q_len, d], k [1, num_kv_heads, kv_len, d] after RoPE, up to the prompt's end.

// bool [num_q_heads]: whether the head is query-aware.
at::Tensor flexprefill_is_query_aware(const at::Tensor& q, const at::Tensor& k,
                                      const BlockGrid& grid, double tau);

// An order of the blocks of a whole head: pooled probabilities, or the larger mass of a block's column and diagonal. The
// first and the last visible block of each row have infinity. Returns float32 [1, num_q_heads, q_blocks, kv_blocks]; what is
// not visible has no meaning.
at::Tensor flexprefill_scores(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                              double tau);

// The choice by cumulative mass: of a query-aware head the fewest blocks with `mass` of the whole map; of the others the
// fewest block columns and the fewest block diagonals, each with `mass` of all. Every head keeps at least `min_budget`
// tokens in columns and as many in diagonals, the first column and the main diagonal among them. Returns bool
// [1, num_q_heads, q_blocks, kv_blocks].
at::Tensor flexprefill_mask(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                            double tau, double mass, std::int64_t min_budget);

}  // namespace seer
