// The layers of a decoder that look at one row at a time: what crosses from the operators to their kernels.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

// out = x / sqrt(mean(x^2) + eps) * weight over the last dimension. The statistics are of float32; the normalised row
// is rounded to the element type before the weight multiplies it, as Llama's published code does.
struct RmsNormParams {
  const void* x = nullptr;       // [rows, groups, width]
  const void* weight = nullptr;  // [width], contiguous
  void* out = nullptr;           // [rows, groups, width], contiguous
  Element element = Element::kFloat32;

  std::int64_t rows = 0;
  std::int64_t groups = 1;
  std::int64_t width = 0;
  std::int64_t row_stride = 0;  // of x
  std::int64_t group_stride = 0;
  double eps = 0.0;
};

// Turns each pair (x[i], x[i + head_dim / 2]) by the row's angle i.
struct RopeParams {
  const void* x = nullptr;     // [rows, heads, head_dim]
  const float* cos = nullptr;  // [rows, head_dim / 2], contiguous
  const float* sin = nullptr;
  void* out = nullptr;  // [rows, heads, head_dim]; may be x itself with the same strides
  Element element = Element::kFloat32;

  std::int64_t rows = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;  // even
  std::int64_t x_row_stride = 0;
  std::int64_t x_head_stride = 0;
  std::int64_t out_row_stride = 0;
  std::int64_t out_head_stride = 0;
};

// out = silu(gate) * up. silu(gate) is rounded to the element type before the product.
struct SwigluParams {
  const void* gate_up =
      nullptr;          // [rows, 2 * width]: gate, then up; rows row_stride elements apart
  void* out = nullptr;  // [rows, width], contiguous
  Element element = Element::kFloat32;

  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t row_stride = 0;
};

}  // namespace seer
