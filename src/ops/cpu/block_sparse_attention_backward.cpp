// The CPU kernels of attention's backward, spread over LibTorch's threads.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "kernels/block_sparse_attention_backward/reference.h"
#include "ops/cpu/output_allocator.h"
#include "ops/prepare_attention_backward.h"

namespace seer {
namespace {

void run_reference(const AttentionBackwardParams& params) {
  at::parallel_for(0, params.forward.batch * params.forward.num_kv_heads, 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     attention_backward_reference(params, begin, end);
                   });
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_sparse_attention_backward_cpu(
    const at::Tensor& grad_out, const std::optional<at::Tensor>& grad_lse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  const AttentionArguments forward = {.q = q,
                                      .k = k,
                                      .v = v,
                                      .block_mask = block_mask ? &*block_mask : nullptr,
                                      .block_size = block_size,
                                      .is_causal = is_causal,
                                      .scale = scale,
                                      .wants_block_map = false};
  const AttentionBackwardArguments arguments = {
      .grad_out = grad_out, .grad_lse = grad_lse, .forward = forward, .out = out, .lse = lse};
  const AttentionGradients gradients = prepare_attention_backward(arguments, output_allocator());
  if (sees_nothing(arguments)) {
    zero_gradients(gradients);
  } else {
    const std::optional<at::Tensor> plain_grad_lse =
        grad_lse ? std::optional(grad_lse->contiguous()) : std::nullopt;
    const at::Tensor plain_grad_out = with_contiguous_rows(grad_out);
    const at::Tensor plain_out = with_contiguous_rows(out);
    const at::Tensor plain_lse = lse.contiguous();
    run_reference(attention_backward_params({.grad_out = plain_grad_out,
                                             .grad_lse = plain_grad_lse,
                                             .forward = forward,
                                             .out = plain_out,
                                             .lse = plain_lse},
                                            gradients));
  }
  return {gradients.q, gradients.k, gradients.v};
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("block_sparse_attention_backward", &block_sparse_attention_backward_cpu);
}

}  // namespace seer
