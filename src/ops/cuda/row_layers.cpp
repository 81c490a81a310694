#include "ops/row_layers.h"

#include <torch/library.h>

#include "kernels/row_layers/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

at::Tensor rms_norm_cuda_key(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const PreparedRmsNorm prepared = prepare_rms_norm(x, weight, eps);
  const DeviceCall call("rms_norm", x);
  rms_norm_cuda(prepared.params, call.stream());
  return prepared.out;
}

void rope_cuda_key(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                   const at::Tensor& out) {
  const RopeParams params = prepare_rope(x, cos, sin, out);
  const DeviceCall call("rope", x);
  rope_cuda(params, call.stream());
}

at::Tensor swiglu_cuda_key(const at::Tensor& gate_up) {
  const PreparedSwiglu prepared = prepare_swiglu(gate_up);
  const DeviceCall call("swiglu", gate_up);
  swiglu_cuda(prepared.params, call.stream());
  return prepared.out;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("rms_norm", &rms_norm_cuda_key);
  m.impl("rope", &rope_cuda_key);
  m.impl("swiglu", &swiglu_cuda_key);
}

}  // namespace seer
