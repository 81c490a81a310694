#include "ops/row_layers_backward.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/row_layers_backward/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_cuda_key(const at::Tensor& grad,
                                                              const at::Tensor& x,
                                                              const at::Tensor& weight,
                                                              double eps) {
  PreparedRmsNormBackward prepared = prepare_rms_norm_backward(grad, x, weight, eps);
  RmsNormBackwardParams& params = prepared.params;
  params.parts = rms_norm_backward_parts(params.rows * params.groups);
  const at::Tensor partials =
      at::empty({params.parts, params.width}, x.options().dtype(at::kFloat));
  params.partials = partials.mutable_data_ptr<float>();
  const DeviceCall call("rms_norm_backward", x);
  rms_norm_backward_cuda(params, call.stream());
  return {prepared.grad_x, prepared.grad_weight};
}

at::Tensor swiglu_backward_cuda_key(const at::Tensor& grad, const at::Tensor& gate_up) {
  const PreparedSwigluBackward prepared = prepare_swiglu_backward(grad, gate_up);
  const DeviceCall call("swiglu_backward", gate_up);
  swiglu_backward_cuda(prepared.params, call.stream());
  return prepared.grad_gate_up;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("rms_norm_backward", &rms_norm_backward_cuda_key);
  m.impl("swiglu_backward", &swiglu_backward_cuda_key);
}

}  // namespace seer
