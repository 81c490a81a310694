// What block_sparse_attention_backward shares on every device: checks, gradients, kernel parameters.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <optional>
#include <tuple>

#include "kernels/block_sparse_attention_backward/params.h"
#include "ops/prepare_attention.h"

namespace seer {

// The arguments of the operator, held by reference for the length of one call.
struct AttentionBackwardArguments {
  const at::Tensor& grad_out;                 // like out
  const std::optional<at::Tensor>& grad_lse;  // like lse; absent: zeros
  AttentionArguments forward;                 // as the forward ran, without a block map
  const at::Tensor& out;                      // [batch, num_q_heads, q_len, head_dim]
  const at::Tensor& lse;                      // float32 [batch, num_q_heads, q_len]
};

// Each like the tensor it is the gradient of, in its memory layout where that is non-overlapping and dense.
struct AttentionGradients {
  at::Tensor q, k, v;
};

// Checks every argument, then allocates the gradients without filling them. Sizes may be symbolic. `allocator` as in
// prepare_attention().
AttentionGradients prepare_attention_backward(const AttentionBackwardArguments& arguments,
                                              c10::Allocator* allocator = nullptr);

// Whether there is nothing to compute but zeros: no query that could see a key. Such gradients are filled by
// zero_gradients().
bool sees_nothing(const AttentionBackwardArguments& arguments);
void zero_gradients(const AttentionGradients& gradients);

// The kernel's view of checked arguments and their gradients, which must outlive it. The last dimension of grad_out and
// out is contiguous (see contiguous_rows.h); lse and grad_lse are contiguous.
AttentionBackwardParams attention_backward_params(const AttentionBackwardArguments& arguments,
                                                  const AttentionGradients& gradients);

}  // namespace seer
