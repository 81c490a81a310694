// Holds results against a plain computation in double precision before any time is reported.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "bench/kernels/attention_masks.h"

namespace seer::bench {

// Largest differences between a result and what it should be.
struct Difference {
  double absolute = 0;  // of one element
  double relative = 0;  // 2-norm of the difference over 2-norm of the expected
};

struct AttentionProblem {
  at::Tensor q, k, v;  // [batch, heads, length, head_dim]
  CausalBlocks blocks;
};

// out [batch, num_q_heads, q_len, head_dim] against another result of the same problem, head by
// head.
Difference compare_heads(const at::Tensor& out, const at::Tensor& expected);

// Some query blocks of out, and of block_map where it is defined, against softmax(q k^T) v in
// double precision. An undefined block_mask keeps every block. The blocks are drawn from `seed`;
// the first and the last are always among them.
Difference compare_some_blocks(const AttentionProblem& problem, const at::Tensor& block_mask,
                               const at::Tensor& out, const at::Tensor& block_map,
                               std::uint64_t seed);

// Of one tensor from another, in double precision.
Difference difference_of(const at::Tensor& actual, const at::Tensor& expected);
void raise_to(Difference& worst, const Difference& other);

// Throws std::runtime_error that names the result when the difference is more than rounding; `slack` times as much is
// tolerated where both sides round.
void require_agreement(const Difference& difference, at::ScalarType dtype, const std::string& name,
                       double slack = 1);

}  // namespace seer::bench
