// Between the contracts of rms_norm, rope and swiglu and their devices.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/row_layers/params.h"

namespace seer {

struct PreparedRmsNorm {
  RmsNormParams params;
  at::Tensor out;     // allocated, not filled
  at::Tensor weight;  // what params points to
};

struct PreparedSwiglu {
  SwigluParams params;
  at::Tensor out;  // allocated, not filled
};

// Each checks the arguments once for all devices.
PreparedRmsNorm prepare_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
RopeParams prepare_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                        const at::Tensor& out);
PreparedSwiglu prepare_swiglu(const at::Tensor& gate_up);

// For the gradients, which take the same arguments besides.
void check_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
void check_swiglu(const at::Tensor& gate_up);

}  // namespace seer
