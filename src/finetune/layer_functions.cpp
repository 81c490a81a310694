#include "finetune/layer_functions.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <utility>
#include <vector>

#include "seer/ops.h"

namespace seer {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

at::Tensor with_contiguous_rows(const at::Tensor& x) {
  return x.size(-1) <= 1 || x.stride(-1) == 1 ? x : x.contiguous();
}

// The parts of a projection.
struct Parts {
  at::Tensor q, k, v;
};
Parts parts_of(const at::Tensor& projected, const HeadLayout& layout) {
  return {projected.narrow(1, 0, layout.num_q_heads),
          projected.narrow(1, layout.num_q_heads, layout.num_kv_heads),
          projected.narrow(1, layout.num_q_heads + layout.num_kv_heads, layout.num_kv_heads)};
}

at::Tensor turned(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  rope(x, cos, sin, out);
  return out;
}

class HeadsFunction : public Function<HeadsFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& projected,
                               const std::optional<at::Tensor>& some_q_norm,
                               const std::optional<at::Tensor>& some_k_norm, const at::Tensor& cos,
                               const at::Tensor& sin, const HeadLayout& layout) {
    const at::Tensor q_norm = some_q_norm.value_or(at::Tensor());
    const at::Tensor k_norm = some_k_norm.value_or(at::Tensor());
    const at::AutoDispatchBelowADInplaceOrView below;
    // Without norms the projection is not needed again.
    context->save_for_backward(
        {q_norm.defined() ? projected : at::Tensor(), q_norm, k_norm, cos, sin});
    context->saved_data["sizes"] =
        std::vector<std::int64_t>{layout.num_q_heads, layout.num_kv_heads, layout.head_dim};
    context->saved_data["eps"] = layout.eps;
    Heads heads = split_heads(projected, q_norm, k_norm, {.cos = cos, .sin = sin}, layout);
    return {heads.q, heads.k, heads.v.contiguous()};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::NoGradGuard no_grad;
    const variable_list saved = context->get_saved_variables();
    const std::vector<std::int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const HeadLayout layout{.num_q_heads = sizes[0],
                            .num_kv_heads = sizes[1],
                            .head_dim = sizes[2],
                            .eps = context->saved_data["eps"].toDouble()};
    const at::Tensor& cos = saved[3];
    const at::Tensor back = saved[4].neg();  // turns back
    const at::Tensor whole =
        at::empty({cos.size(0), layout.num_q_heads + 2 * layout.num_kv_heads, layout.head_dim},
                  grads[0].options());
    const Parts out = parts_of(whole, layout);
    rope(with_contiguous_rows(grads[0]), cos, back, out.q);
    rope(with_contiguous_rows(grads[1]), cos, back, out.k);
    out.v.copy_(grads[2]);
    at::Tensor grad_q_norm, grad_k_norm;
    if (saved[0].defined()) {
      const Parts in = parts_of(saved[0], layout);
      const auto [grad_q, of_q_norm] = rms_norm_backward(out.q, in.q, saved[1], layout.eps);
      const auto [grad_k, of_k_norm] = rms_norm_backward(out.k, in.k, saved[2], layout.eps);
      out.q.copy_(grad_q);
      out.k.copy_(grad_k);
      grad_q_norm = of_q_norm;
      grad_k_norm = of_k_norm;
    }
    return {whole, grad_q_norm, grad_k_norm, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

Heads split_heads(const at::Tensor& projected, const at::Tensor& q_norm, const at::Tensor& k_norm,
                  const RopeTable& table, const HeadLayout& layout) {
  const Parts parts = parts_of(projected, layout);
  Heads heads{.unturned_q = parts.q, .unturned_k = parts.k, .v = parts.v};
  if (q_norm.defined()) heads.unturned_q = rms_norm(parts.q, q_norm, layout.eps);
  if (k_norm.defined()) heads.unturned_k = rms_norm(parts.k, k_norm, layout.eps);
  heads.q = turned(heads.unturned_q, table.cos, table.sin);
  heads.k = turned(heads.unturned_k, table.cos, table.sin);
  return heads;
}

Heads trained_heads(const at::Tensor& projected, const at::Tensor& q_norm, const at::Tensor& k_norm,
                    const RopeTable& table, const HeadLayout& layout) {
  // Undefined tensors are no arguments to autograd.
  const auto some = [](const at::Tensor& x) {
    return x.defined() ? std::optional<at::Tensor>(x) : std::nullopt;
  };
  variable_list of =
      HeadsFunction::apply(projected, some(q_norm), some(k_norm), table.cos, table.sin, layout);
  return {.q = of[0], .k = of[1], .v = of[2]};
}

}  // namespace seer
