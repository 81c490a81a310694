#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/prepare_attention.h"
#include "seer/ops.h"

namespace seer {
namespace {

std::tuple<at::Tensor, at::Tensor> block_sparse_attention_meta(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  AttentionOutputs outputs = prepare_attention({.q = q,
                                                .k = k,
                                                .v = v,
                                                .block_mask = block_mask ? &*block_mask : nullptr,
                                                .block_size = block_size,
                                                .is_causal = is_causal,
                                                .scale = scale,
                                                .wants_block_map = false});
  return {outputs.out, outputs.lse};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> block_sparse_attention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::block_sparse_attention", "")
                             .typed<decltype(block_sparse_attention)>();
  return op.call(q, k, v, block_mask, block_size, is_causal, scale);
}

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "block_sparse_attention(Tensor q, Tensor k, Tensor v, Tensor? block_mask, int block_size=64, "
      "bool is_causal=True, float? scale=None) -> (Tensor out, Tensor lse)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("block_sparse_attention", &block_sparse_attention_meta);
}

// No backward yet: a forward pass works, a backward pass through it raises.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("block_sparse_attention", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
