// XAttention: sums along antidiagonals of the attention matrix say how much a block matters.
//
// Ruyi Xu, Guangxuan Xiao, Haofeng Huang, Junxian Guo, Song Han, "XAttention: Block Sparse Attention with Antidiagonal
// Scoring" (2025), arXiv:2503.16428.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "selection/block_scores.h"

namespace seer {

// Queries and keys are grouped by `stride` tokens, S. With query groups in reverse order the product of two groups, each
// written as one vector of S d numbers, is the sum of the logits on the antidiagonal of their S x S tile:
//   z(i, j) = sum over s of q[S i + S - 1 - s] . k[S j + s] / (S sqrt(d)),  j up to the group that holds query i's last
// The softmax over j is added up within blocks and averaged over a row's groups, so that the visible blocks of each row
// sum to 1. Groups that lengths cut off are filled up with zeros.
//   q [1, num_q_heads, q_len, d], k [1, num_kv_heads, kv_len, d] after RoPE; stride divides grid.block_size
// Returns float32 [1, num_q_heads, q_blocks, kv_blocks]; 0 where nothing is visible.
at::Tensor xattention_probabilities(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                                    std::int64_t stride);

}  // namespace seer
