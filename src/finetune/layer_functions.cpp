#include "finetune/layer_functions.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/_fused_rms_norm_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "seer/ops.h"

namespace seer {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct NormGradients {
  at::Tensor x, weight;
};

// x [..., width].
NormGradients rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                const at::Tensor& weight, double eps) {
  const std::int64_t width = x.size(-1);
  if (x.is_cuda()) {
    const at::Tensor rows = x.contiguous();
    const at::Tensor rstd = std::get<1>(at::_fused_rms_norm(rows, {width}, weight, eps));
    auto [grad_x, grad_weight] = at::_fused_rms_norm_backward(
        grad.contiguous(), rows, {width}, rstd, weight, std::array<bool, 2>{true, true});
    return {std::move(grad_x), std::move(grad_weight)};
  }
  const at::Tensor rows = x.to(at::kFloat);
  const at::Tensor rstd = (rows.square().mean(-1, /*keepdim=*/true) + eps).rsqrt();
  const at::Tensor normed = rows * rstd;
  const at::Tensor wide = grad.to(at::kFloat);
  const at::Tensor weighted = wide * weight.to(at::kFloat);
  const at::Tensor along = (weighted * normed).mean(-1, /*keepdim=*/true);
  const at::Tensor grad_x = (weighted - normed * along) * rstd;
  const at::Tensor grad_weight = (wide * normed).reshape({-1, width}).sum(0);
  return {grad_x.to(x.scalar_type()), grad_weight.to(weight.scalar_type())};
}

class RmsNormFunction : public Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double eps) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    return rms_norm(x, weight, eps);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::NoGradGuard no_grad;
    NormGradients of =
        rms_norm_backward(grads[0], saved[0], saved[1], context->saved_data["eps"].toDouble());
    return {of.x, of.weight, at::Tensor()};
  }
};

class SwigluFunction : public Function<SwigluFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({gate_up});
    return swiglu(gate_up);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor gate_up = context->get_saved_variables()[0];
    const at::NoGradGuard no_grad;
    const std::int64_t width = gate_up.size(1) / 2;
    const at::Tensor gate = gate_up.narrow(1, 0, width);
    const at::Tensor up = gate_up.narrow(1, width, width);
    at::Tensor both = at::empty(gate_up.sizes(), gate_up.options());
    at::Tensor grad_up = both.narrow(1, width, width);
    at::Tensor grad_gate = both.narrow(1, 0, width);
    // grad of up = grad * silu(gate); grad of gate = grad * up * silu'(gate)
    at::mul_out(grad_up, grads[0], at::silu(gate));
    at::silu_backward_out(grad_gate, grads[0] * up, gate);
    return {both};
  }
};

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
    rope(rows_of(grads[0]), cos, back, out.q);
    rope(rows_of(grads[1]), cos, back, out.k);
    out.v.copy_(grads[2]);
    at::Tensor grad_q_norm, grad_k_norm;
    if (saved[0].defined()) {
      const Parts in = parts_of(saved[0], layout);
      NormGradients of_q = rms_norm_backward(out.q, in.q, saved[1], layout.eps);
      NormGradients of_k = rms_norm_backward(out.k, in.k, saved[2], layout.eps);
      out.q.copy_(of_q.x);
      out.k.copy_(of_k.x);
      grad_q_norm = of_q.weight;
      grad_k_norm = of_k.weight;
    }
    return {whole, grad_q_norm, grad_k_norm, at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  // What rope() reads: rows with a contiguous last dimension.
  static at::Tensor rows_of(const at::Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }
};

}  // namespace

at::Tensor trained_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return RmsNormFunction::apply(x, weight, eps);
}

at::Tensor trained_swiglu(const at::Tensor& gate_up) {
  return SwigluFunction::apply(gate_up);
}

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
