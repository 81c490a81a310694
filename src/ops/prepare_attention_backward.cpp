#include "ops/prepare_attention_backward.h"

#include <c10/core/SymBool.h>
#include <c10/core/SymInt.h>

namespace seer {
namespace {

// A plain tensor with the first `dims` sizes of q, beside q.
void check_like_q(const at::Tensor& tensor, const char* name, at::ScalarType dtype,
                  std::int64_t dims, const char* shape, const at::Tensor& q) {
  TORCH_CHECK(tensor.defined(), name, ": expected a tensor, got an undefined one");
  TORCH_CHECK(tensor.layout() == at::kStrided, name, ": expected a strided tensor, got layout ",
              tensor.layout());
  TORCH_CHECK(tensor.device() == q.device(), name, ": expected device ", q.device(),
              " (as q), got ", tensor.device());
  TORCH_CHECK(tensor.scalar_type() == dtype, name, ": expected dtype ", dtype, ", got ",
              tensor.scalar_type());
  TORCH_CHECK(tensor.dim() == dims, name, ": expected ", dims, " dimensions ", shape, ", got ",
              tensor.dim(), " with sizes ", tensor.sym_sizes());
  for (std::int64_t dim = 0; dim < dims; ++dim) {
    TORCH_SYM_CHECK(tensor.sym_size(dim).sym_eq(q.sym_size(dim)), name, ": expected sizes ", shape,
                    " of q, ", q.sym_sizes(), ", got ", tensor.sym_sizes());
  }
}

}  // namespace

AttentionGradients prepare_attention_backward(const AttentionBackwardArguments& arguments,
                                              c10::Allocator* allocator) {
  const auto& [grad_out, grad_lse, forward, out, lse] = arguments;
  check_attention(forward);
  const at::Tensor& q = forward.q;
  constexpr const char* kShapeOfOut = "[batch, num_q_heads, q_len, head_dim]";
  constexpr const char* kShapeOfLse = "[batch, num_q_heads, q_len]";
  check_like_q(grad_out, "grad_out", q.scalar_type(), 4, kShapeOfOut, q);
  check_like_q(out, "out", q.scalar_type(), 4, kShapeOfOut, q);
  check_like_q(lse, "lse", at::kFloat, 3, kShapeOfLse, q);
  if (grad_lse) check_like_q(*grad_lse, "grad_lse", at::kFloat, 3, kShapeOfLse, q);

  return {.q = allocate_like(q, allocator),
          .k = allocate_like(forward.k, allocator),
          .v = allocate_like(forward.v, allocator)};
}

bool sees_nothing(const AttentionBackwardArguments& arguments) {
  return arguments.lse.numel() == 0 || arguments.forward.k.numel() == 0;
}

void zero_gradients(const AttentionGradients& gradients) {
  gradients.q.zero_();
  gradients.k.zero_();
  gradients.v.zero_();
}

AttentionBackwardParams attention_backward_params(const AttentionBackwardArguments& arguments,
                                                  const AttentionGradients& gradients) {
  const auto& [grad_out, grad_lse, forward, out, lse] = arguments;
  AttentionBackwardParams params;
  params.forward = attention_input_params(forward);
  // What the forward writes and the backward reads.
  params.forward.out = const_cast<void*>(out.const_data_ptr());
  params.forward.out_strides = attention_strides(out);
  params.forward.lse = const_cast<float*>(lse.const_data_ptr<float>());

  params.grad_out = grad_out.const_data_ptr();
  params.grad_out_strides = attention_strides(grad_out);
  if (grad_lse) params.grad_lse = grad_lse->const_data_ptr<float>();
  params.grad_q = gradients.q.mutable_data_ptr();
  params.grad_k = gradients.k.mutable_data_ptr();
  params.grad_v = gradients.v.mutable_data_ptr();
  params.grad_q_strides = attention_strides(gradients.q);
  params.grad_k_strides = attention_strides(gradients.k);
  params.grad_v_strides = attention_strides(gradients.v);
  return params;
}

}  // namespace seer
