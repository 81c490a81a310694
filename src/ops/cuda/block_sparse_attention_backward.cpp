// The CUDA kernels of attention's backward: one kernel call on LibTorch's current stream.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/block_sparse_attention_backward/cuda.h"
#include "ops/contiguous_rows.h"
#include "ops/cuda/device_call.h"
#include "ops/prepare_attention_backward.h"

namespace seer {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_sparse_attention_backward_cuda_key(
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
  const AttentionGradients gradients = prepare_attention_backward(arguments);
  const DeviceCall call("block_sparse_attention_backward", q);
  if (sees_nothing(arguments)) {
    zero_gradients(gradients);
    return {gradients.q, gradients.k, gradients.v};
  }

  const at::Tensor plain_q = readable_by_tma(q);
  const at::Tensor plain_k = readable_by_tma(k);
  const at::Tensor plain_v = readable_by_tma(v);
  const at::Tensor plain_out = readable_by_tma(with_contiguous_rows(out));
  const at::Tensor plain_grad_out = readable_by_tma(with_contiguous_rows(grad_out));
  const at::Tensor plain_lse = lse.contiguous();
  const std::optional<at::Tensor> plain_grad_lse =
      grad_lse ? std::optional(grad_lse->contiguous()) : std::nullopt;
  const AttentionBackwardParams params =
      attention_backward_params({.grad_out = plain_grad_out,
                                 .grad_lse = plain_grad_lse,
                                 .forward = {.q = plain_q,
                                             .k = plain_k,
                                             .v = plain_v,
                                             .block_mask = forward.block_mask,
                                             .block_size = block_size,
                                             .is_causal = is_causal,
                                             .scale = scale,
                                             .wants_block_map = false},
                                 .out = plain_out,
                                 .lse = plain_lse},
                                gradients);
  const auto workspace_bytes = static_cast<std::int64_t>(
      attention_backward_cuda_workspace_bytes(params, call.device().num_multiprocessors));
  const at::Tensor workspace = at::empty({workspace_bytes}, q.options().dtype(at::kByte));
  attention_backward_cuda(params, workspace.mutable_data_ptr(), call.stream());
  return {gradients.q, gradients.k, gradients.v};
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("block_sparse_attention_backward", &block_sparse_attention_backward_cuda_key);
}

}  // namespace seer
