// What the attention operators share on every device: checks, outputs, kernel parameters.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <cstdint>
#include <optional>

#include "kernels/block_sparse_attention/params.h"

namespace seer {

// The arguments of an operator, held by reference for the length of one call.
struct AttentionArguments {
  const at::Tensor& q;           // [batch, num_q_heads, q_len, head_dim]
  const at::Tensor& k;           // [batch, num_kv_heads, kv_len, head_dim]
  const at::Tensor& v;           // [batch, num_kv_heads, kv_len, head_dim]
  const at::Tensor* block_mask;  // null: the operator takes none and every block is kept
  std::int64_t block_size;
  bool is_causal;
  std::optional<double> scale;  // 1 / sqrt(head_dim) when absent
  bool wants_block_map;
};

struct AttentionOutputs {
  at::Tensor out;        // as q; q's memory layout where q is non-overlapping and dense
  at::Tensor lse;        // float32 [batch, num_q_heads, q_len]
  at::Tensor block_map;  // float32 [batch, num_q_heads, q blocks, kv blocks]; undefined if not
                         // wanted
};

// Checks every argument, then allocates the outputs without filling them. Sizes may be symbolic. `allocator` is where
// the large outputs' memory comes from; null: the device's own.
AttentionOutputs prepare_attention(const AttentionArguments& arguments,
                                   c10::Allocator* allocator = nullptr);

// The checks alone.
void check_attention(const AttentionArguments& arguments);

// Memory for a result like `tensor`: its sizes, dtype and device, and its layout where that is non-overlapping and dense
// (else contiguous). Not filled.
at::Tensor allocate_like(const at::Tensor& tensor, c10::Allocator* allocator);

// What multiplies q.k, with the default filled in.
double attention_scale(const AttentionArguments& arguments);

// Of a [batch, heads, length, head_dim] tensor.
Strides attention_strides(const at::Tensor& tensor);

// The kernel's view of checked arguments, without outputs.
AttentionParams attention_input_params(const AttentionArguments& arguments);

// The kernel's view of checked arguments and their outputs, which must outlive it.
AttentionParams attention_params(const AttentionArguments& arguments,
                                 const AttentionOutputs& outputs);

}  // namespace seer
