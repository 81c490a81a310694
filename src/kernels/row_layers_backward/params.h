// Gradients of the row layers of src/kernels/row_layers/params.h: what crosses from the operators to their kernels.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

// Of out = n * weight with n = x * s, s = 1 / sqrt(mean(x^2) + eps), over the last dimension:
//   grad_x = s * (weight * grad - n * mean(weight * grad * n)),  grad_weight = the sum of grad * n over all rows
struct RmsNormBackwardParams {
  const void* grad = nullptr;    // [rows, groups, width], of the output
  const void* x = nullptr;       // [rows, groups, width]
  const void* weight = nullptr;  // [width], contiguous
  void* grad_x = nullptr;        // [rows, groups, width], contiguous
  void* grad_weight = nullptr;   // [width], contiguous
  float* partials = nullptr;     // [parts, width]: sums of some rows
  Element element = Element::kFloat32;

  std::int64_t rows = 0;
  std::int64_t groups = 1;
  std::int64_t width = 0;
  std::int64_t parts = 0;
  std::int64_t grad_row_stride = 0;
  std::int64_t grad_group_stride = 0;
  std::int64_t x_row_stride = 0;
  std::int64_t x_group_stride = 0;
  double eps = 0.0;
};

// Of out = silu(gate) * up, with s = 1 / (1 + exp(-gate)):
//   grad_gate = grad * up * s * (1 + gate * (1 - s)),  grad_up = grad * gate * s
struct SwigluBackwardParams {
  const void* grad = nullptr;     // [rows, width]; rows grad_row_stride elements apart
  const void* gate_up = nullptr;  // [rows, 2 * width]: gate, then up
  void* grad_gate_up = nullptr;   // [rows, 2 * width], contiguous
  Element element = Element::kFloat32;

  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t grad_row_stride = 0;
  std::int64_t row_stride = 0;  // of gate_up
};

}  // namespace seer
