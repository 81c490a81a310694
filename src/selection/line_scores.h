// Vertical and slash lines of the attention matrix, seen through the last queries of a prompt.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "selection/block_scores.h"

namespace seer {

// The true attention of the last `last` queries, or of all where there are fewer: causal softmax, float32
// [num_q_heads, queries, kv_len].
//   q [1, num_q_heads, q_len, d], k [1, num_kv_heads, kv_len, d] after RoPE
at::Tensor attention_of_last(const at::Tensor& q, const at::Tensor& k, std::int64_t last);

// The two kinds of lines, each added up over the queries: float32 [num_q_heads, kv_blocks, block_size], 0 behind the end.
struct LineSums {
  at::Tensor columns;    // by the key's position
  at::Tensor distances;  // by the query's position less the key's
};
LineSums line_sums(const at::Tensor& attention, std::int64_t block_size);

// A line of one distance t crosses two block diagonals: those of t / block_size and of the next, unless block_size divides
// t. Gives each block diagonal [num_q_heads, kv_blocks] the most that one of its lines has.
at::Tensor largest_of_diagonals(const at::Tensor& distances);
// Gives it the lines' sum, each with the share of its tokens that lie in the diagonal.
at::Tensor sum_of_diagonals(const at::Tensor& distances);

// Each block's larger one of its column's and its diagonal's value, float32 [num_q_heads, q_blocks, kv_blocks]; what is not
// visible has no meaning. columns and diagonals [num_q_heads, kv_blocks]; grid.past() is a multiple of the block size.
at::Tensor map_of_lines(const at::Tensor& columns, const at::Tensor& diagonals,
                        const BlockGrid& grid);

}  // namespace seer
