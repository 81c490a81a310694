// Between the contracts of rms_norm_backward and swiglu_backward and their devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/row_layers_backward/params.h"

namespace seer {

struct PreparedRmsNormBackward {
  RmsNormBackwardParams params;    // without partial sums
  at::Tensor grad_x, grad_weight;  // allocated, not filled
  at::Tensor weight;               // what params points to
};

struct PreparedSwigluBackward {
  SwigluBackwardParams params;
  at::Tensor grad_gate_up;  // allocated, not filled
};

// Each checks the arguments once for all devices.
PreparedRmsNormBackward prepare_rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                  const at::Tensor& weight, double eps);
PreparedSwigluBackward prepare_swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up);
// What the prepare functions check, for devices that need no parameters.
void check_rms_norm_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight,
                             double eps);
void check_swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up);

}  // namespace seer
