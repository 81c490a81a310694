// What crosses from the operators to the matrix-vector kernels: plain data.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

// out[b, o] = sum_i x[b, i] * weight[o, i] + bias[o]
struct GemvParams {
  const void* x = nullptr;       // [batch, in_features], rows x_stride elements apart
  const void* weight = nullptr;  // [out_features, in_features], rows weight_stride elements apart
  const void* bias = nullptr;    // [out_features], contiguous, or null
  void* out = nullptr;           // [batch, out_features], contiguous
  Element element = Element::kFloat32;  // of all of them

  std::int64_t batch = 0;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::int64_t x_stride = 0;
  std::int64_t weight_stride = 0;
};

}  // namespace seer
