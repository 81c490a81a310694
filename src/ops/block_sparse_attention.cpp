#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>
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

// The backward is an operator too, so that what traces the graph sees a call of it. It has no derivative of its own.
class BlockSparseAttentionFunction
    : public torch::autograd::Function<BlockSparseAttentionFunction> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& q, const at::Tensor& k,
                                                const at::Tensor& v,
                                                const std::optional<at::Tensor>& block_mask,
                                                std::int64_t block_size, bool is_causal,
                                                std::optional<double> scale) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [out, lse] = block_sparse_attention(q, k, v, block_mask, block_size, is_causal, scale);
    context->save_for_backward({q, k, v, out, lse, block_mask.value_or(at::Tensor())});
    context->saved_data["block_size"] = block_size;
    context->saved_data["is_causal"] = is_causal;
    context->saved_data["scale"] = scale;
    context->set_materialize_grads(false);  // a loss rarely uses lse
    return {out, lse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &lse = saved[4];
    const std::optional<at::Tensor> block_mask =
        saved[5].defined() ? std::optional(saved[5]) : std::nullopt;
    if (!grads[0].defined() && !grads[1].defined())
      return torch::autograd::variable_list(kNumArguments);
    auto [grad_q, grad_k, grad_v] = block_sparse_attention_backward(
        grads[0].defined() ? grads[0] : at::zeros_like(out),
        grads[1].defined() ? std::optional(grads[1]) : std::nullopt, q, k, v, out, lse, block_mask,
        context->saved_data["block_size"].toInt(), context->saved_data["is_causal"].toBool(),
        context->saved_data["scale"].toOptional<double>());
    torch::autograd::variable_list result(kNumArguments);
    result[0] = std::move(grad_q);
    result[1] = std::move(grad_k);
    result[2] = std::move(grad_v);
    return result;
  }

 private:
  static constexpr std::size_t kNumArguments = 7;  // of forward
};

std::tuple<at::Tensor, at::Tensor> block_sparse_attention_autograd(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  torch::autograd::variable_list outputs =
      BlockSparseAttentionFunction::apply(q, k, v, block_mask, block_size, is_causal, scale);
  return {std::move(outputs[0]), std::move(outputs[1])};
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

TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("block_sparse_attention", &block_sparse_attention_autograd);
}

}  // namespace seer
