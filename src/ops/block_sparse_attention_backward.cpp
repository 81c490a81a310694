#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/prepare_attention_backward.h"
#include "seer/ops.h"

namespace seer {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_sparse_attention_backward_meta(
    const at::Tensor& grad_out, const std::optional<at::Tensor>& grad_lse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  AttentionGradients gradients =
      prepare_attention_backward({.grad_out = grad_out,
                                  .grad_lse = grad_lse,
                                  .forward = {.q = q,
                                              .k = k,
                                              .v = v,
                                              .block_mask = block_mask ? &*block_mask : nullptr,
                                              .block_size = block_size,
                                              .is_causal = is_causal,
                                              .scale = scale,
                                              .wants_block_map = false},
                                  .out = out,
                                  .lse = lse});
  return {gradients.q, gradients.k, gradients.v};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_sparse_attention_backward(
    const at::Tensor& grad_out, const std::optional<at::Tensor>& grad_lse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::block_sparse_attention_backward", "")
                             .typed<decltype(block_sparse_attention_backward)>();
  return op.call(grad_out, grad_lse, q, k, v, out, lse, block_mask, block_size, is_causal, scale);
}

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "block_sparse_attention_backward(Tensor grad_out, Tensor? grad_lse, Tensor q, Tensor k, "
      "Tensor v, Tensor out, Tensor lse, Tensor? block_mask, int block_size=64, "
      "bool is_causal=True, float? scale=None) -> (Tensor grad_q, Tensor grad_k, Tensor grad_v)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("block_sparse_attention_backward", &block_sparse_attention_backward_meta);
}

// A second derivative raises.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("block_sparse_attention_backward", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
