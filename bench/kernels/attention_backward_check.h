// Holds gradients against plain formulas in double precision before any time is reported.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

#include "bench/kernels/attention_check.h"

namespace seer::bench {

// One backward: what it was given, and what it gave.
struct AttentionGradient {
  at::Tensor grad_out, out, lse;  // of a forward that was checked
  at::Tensor q, k, v;             // gradients; k and v may have a head for each query head
};

// Two sets of gradients of one problem, head by head. Keys' and values' gradients of more heads are summed over those
// that share one.
Difference compare_gradients(const AttentionGradient& actual, const AttentionGradient& expected);

// Some query blocks of q's gradient and some key blocks of k's and v's. An undefined block_mask keeps every block. The
// blocks are drawn from `seed`; the first and the last are always among them.
Difference compare_some_gradients(const AttentionProblem& problem, const at::Tensor& block_mask,
                                  const AttentionGradient& gradient, std::uint64_t seed);

}  // namespace seer::bench
