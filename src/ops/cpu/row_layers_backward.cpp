// From LibTorch's operations: on a CPU these layers are a small part of a training step.
#include "ops/row_layers_backward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <torch/library.h>

namespace seer {
namespace {

at::ScalarType wide_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_cpu_key(const at::Tensor& grad,
                                                             const at::Tensor& x,
                                                             const at::Tensor& weight, double eps) {
  check_rms_norm_backward(grad, x, weight, eps);
  const at::ScalarType wide = wide_type(x);
  const at::Tensor rows = x.to(wide), slopes = grad.to(wide);
  const at::Tensor scale = (rows.square().mean(-1, /*keepdim=*/true) + eps).rsqrt();
  const at::Tensor normed = rows * scale;
  const at::Tensor weighted = slopes * weight.to(wide);
  const at::Tensor along = (weighted * normed).mean(-1, /*keepdim=*/true);
  const at::Tensor grad_x = (weighted - normed * along) * scale;
  const at::Tensor grad_weight = (slopes * normed).reshape({-1, x.size(-1)}).sum(0);
  return {grad_x.to(x.scalar_type()).contiguous(), grad_weight.to(weight.scalar_type())};
}

at::Tensor swiglu_backward_cpu_key(const at::Tensor& grad, const at::Tensor& gate_up) {
  check_swiglu_backward(grad, gate_up);
  const std::int64_t width = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, width);
  const at::Tensor up = gate_up.narrow(1, width, width);
  at::Tensor both = at::empty(gate_up.sizes(), gate_up.options());
  at::Tensor grad_gate = both.narrow(1, 0, width);
  at::Tensor grad_up = both.narrow(1, width, width);
  at::mul_out(grad_up, grad, at::silu(gate));
  at::silu_backward_out(grad_gate, grad * up, gate);
  return both;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("rms_norm_backward", &rms_norm_backward_cpu_key);
  m.impl("swiglu_backward", &swiglu_backward_cpu_key);
}

}  // namespace seer
