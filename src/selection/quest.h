// Quest: an upper bound of what a query can score with any key of a block, from the block's extremes.
//
// Jiaming Tang, Yilong Zhao, Kan Zhu, Guangxuan Xiao, Baris Kasikci, Song Han, "Quest: Query-Aware Sparsity for Efficient
// Long-Context LLM Inference" (2024), arXiv:2406.10774. Published for decoding, with one query at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include "selection/block_scores.h"

namespace seer {

// With the elementwise max and min of a block's keys after RoPE,
//   bound(q, block) = sum over d of max(q_d max_d, q_d min_d) = max(q, 0) . max + min(q, 0) . min
// and the score of a row of queries, our extension to prefill, is the largest bound of its queries that see the block's
// first key, times 1 / sqrt(d).
//   q [1, num_q_heads, q_len, d], k [1, num_kv_heads, kv_len, d] after RoPE
// Returns float32 [1, num_q_heads, q_blocks, kv_blocks]; 0 where nothing is visible.
at::Tensor quest_scores(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid);

}  // namespace seer
