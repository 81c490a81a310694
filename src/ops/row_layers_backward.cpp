#include "ops/row_layers_backward.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <tuple>

#include "ops/contiguous_rows.h"
#include "ops/element.h"
#include "ops/row_layers.h"
#include "ops/same_device.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "rms_norm_backward(Tensor grad, Tensor x, Tensor weight, float eps) -> "
      "(Tensor grad_x, Tensor grad_weight)");
  m.def("swiglu_backward(Tensor grad, Tensor gate_up) -> Tensor");
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight, double eps) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::rms_norm_backward", "")
                             .typed<decltype(rms_norm_backward)>();
  return op.call(grad, x, weight, eps);
}

at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::swiglu_backward", "")
                             .typed<decltype(swiglu_backward)>();
  return op.call(grad, gate_up);
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_gradient(const at::Tensor& grad, c10::SymIntArrayRef sizes, const at::Tensor& input,
                    const char* name, const char* input_name) {
  TORCH_CHECK(grad.sym_sizes() == sizes, name, ": expected ", sizes, " (as the output), got ",
              grad.sym_sizes());
  TORCH_CHECK(grad.scalar_type() == input.scalar_type(), name, ": expected ", input.scalar_type(),
              " (as ", input_name, "), got ", grad.scalar_type());
  check_same_device(grad, name, input, input_name);
  TORCH_CHECK(grad.sym_size(-1) <= 1 || grad.sym_stride(-1) == 1, name,
              ": expected a contiguous last dimension, got strides ", grad.sym_strides());
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_meta(const at::Tensor& grad,
                                                          const at::Tensor& x,
                                                          const at::Tensor& weight, double eps) {
  check_rms_norm_backward(grad, x, weight, eps);
  return {at::empty_symint(x.sym_sizes(), x.options()),
          at::empty_symint(weight.sym_sizes(), weight.options())};
}

at::Tensor swiglu_backward_meta(const at::Tensor& grad, const at::Tensor& gate_up) {
  check_swiglu_backward(grad, gate_up);
  return at::empty_symint(gate_up.sym_sizes(), gate_up.options());
}

bool needs_gradient(const at::Tensor& x) {
  return at::GradMode::is_enabled() && x.requires_grad();
}

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double eps) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({x, weight});
    context->saved_data["eps"] = eps;
    return rms_norm(x, weight, eps);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    auto [grad_x, grad_weight] = rms_norm_backward(with_contiguous_rows(grads[0]), saved[0],
                                                   saved[1], context->saved_data["eps"].toDouble());
    return {grad_x, grad_weight, at::Tensor()};
  }
};

class SwigluFunction : public torch::autograd::Function<SwigluFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({gate_up});
    return swiglu(gate_up);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {swiglu_backward(with_contiguous_rows(grads[0]), context->get_saved_variables()[0])};
  }
};

// Inference pays for no node of a graph.
at::Tensor rms_norm_autograd(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (needs_gradient(x) || needs_gradient(weight)) return RmsNormFunction::apply(x, weight, eps);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return rms_norm(x, weight, eps);
}

at::Tensor swiglu_autograd(const at::Tensor& gate_up) {
  if (needs_gradient(gate_up)) return SwigluFunction::apply(gate_up);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return swiglu(gate_up);
}

}  // namespace

void check_rms_norm_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight,
                             double eps) {
  check_rms_norm(x, weight, eps);
  check_gradient(grad, x.sym_sizes(), x, "rms_norm_backward: grad", "x");
}

void check_swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  check_swiglu(gate_up);
  const std::array<c10::SymInt, 2> sizes = {gate_up.sym_size(0), gate_up.sym_size(1) / 2};
  check_gradient(grad, sizes, gate_up, "swiglu_backward: grad", "gate_up");
}

PreparedRmsNormBackward prepare_rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                  const at::Tensor& weight, double eps) {
  check_rms_norm_backward(grad, x, weight, eps);
  PreparedRmsNormBackward prepared;
  prepared.weight = weight.contiguous();
  prepared.grad_x = at::empty(x.sizes(), x.options());
  prepared.grad_weight = at::empty(weight.sizes(), weight.options());
  RmsNormBackwardParams& params = prepared.params;
  params.element = element_of(x, "rms_norm_backward: x");
  params.rows = x.size(0);
  params.groups = x.dim() == 3 ? x.size(1) : 1;
  params.width = x.size(-1);
  params.grad_row_stride = grad.stride(0);
  params.grad_group_stride = x.dim() == 3 ? grad.stride(1) : 0;
  params.x_row_stride = x.stride(0);
  params.x_group_stride = x.dim() == 3 ? x.stride(1) : 0;
  params.eps = eps;
  params.grad = grad.const_data_ptr();
  params.x = x.const_data_ptr();
  params.weight = prepared.weight.const_data_ptr();
  params.grad_x = prepared.grad_x.mutable_data_ptr();
  params.grad_weight = prepared.grad_weight.mutable_data_ptr();
  return prepared;
}

PreparedSwigluBackward prepare_swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  check_swiglu_backward(grad, gate_up);
  PreparedSwigluBackward prepared;
  prepared.grad_gate_up = at::empty(gate_up.sizes(), gate_up.options());
  SwigluBackwardParams& params = prepared.params;
  params.element = element_of(gate_up, "swiglu_backward: gate_up");
  params.rows = gate_up.size(0);
  params.width = gate_up.size(1) / 2;
  params.grad_row_stride = grad.stride(0);
  params.row_stride = gate_up.stride(0);
  params.grad = grad.const_data_ptr();
  params.gate_up = gate_up.const_data_ptr();
  params.grad_gate_up = prepared.grad_gate_up.mutable_data_ptr();
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("rms_norm_backward", &rms_norm_backward_meta);
  m.impl("swiglu_backward", &swiglu_backward_meta);
}

// A second derivative raises.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("rms_norm", &rms_norm_autograd);
  m.impl("swiglu", &swiglu_autograd);
  m.impl("rms_norm_backward", torch::autograd::autogradNotImplementedFallback());
  m.impl("swiglu_backward", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
