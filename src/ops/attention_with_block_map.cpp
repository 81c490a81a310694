#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/prepare_attention.h"
#include "seer/ops.h"

namespace seer {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_with_block_map_meta(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t block_size,
    bool is_causal, std::optional<double> scale) {
  AttentionOutputs outputs = prepare_attention({.q = q,
                                                .k = k,
                                                .v = v,
                                                .block_mask = nullptr,
                                                .block_size = block_size,
                                                .is_causal = is_causal,
                                                .scale = scale,
                                                .wants_block_map = true});
  return {outputs.out, outputs.lse, outputs.block_map};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_with_block_map(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t block_size,
    bool is_causal, std::optional<double> scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::attention_with_block_map", "")
                             .typed<decltype(attention_with_block_map)>();
  return op.call(q, k, v, block_size, is_causal, scale);
}

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "attention_with_block_map(Tensor q, Tensor k, Tensor v, int block_size=64, "
      "bool is_causal=True, float? scale=None) -> (Tensor out, Tensor lse, Tensor block_map)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("attention_with_block_map", &attention_with_block_map_meta);
}

// Without a gradient: a forward pass works, a backward pass through it raises.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("attention_with_block_map", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
