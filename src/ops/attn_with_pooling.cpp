#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/prepare_attention.h"
#include "seer/ops.h"

namespace seer {
namespace {

std::tuple<at::Tensor, at::Tensor> attn_with_pooling_meta(const at::Tensor& q, const at::Tensor& k,
                                                          const at::Tensor& v, bool is_causal,
                                                          double scale, std::int64_t block_size) {
  AttentionOutputs outputs = prepare_attention({.q = q,
                                                .k = k,
                                                .v = v,
                                                .block_mask = nullptr,
                                                .block_size = block_size,
                                                .is_causal = is_causal,
                                                .scale = scale,
                                                .wants_block_map = true});
  return {outputs.out, outputs.block_map};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> attn_with_pooling(const at::Tensor& q, const at::Tensor& k,
                                                     const at::Tensor& v, bool is_causal,
                                                     double scale, std::int64_t block_size) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::attn_with_pooling", "")
                             .typed<decltype(attn_with_pooling)>();
  return op.call(q, k, v, is_causal, scale, block_size);
}

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "attn_with_pooling(Tensor q, Tensor k, Tensor v, bool is_causal, float scale, "
      "int block_size=64) -> (Tensor out, Tensor pooled)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("attn_with_pooling", &attn_with_pooling_meta);
}

// Without a gradient: a forward pass works, a backward pass through it raises.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("attn_with_pooling", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
