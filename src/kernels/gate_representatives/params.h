// What crosses from the operators to the kernels that make a gate's representatives: plain data.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

// rep = RoPE(norm(pooled map)), each of the three where it is given. Pairs that RoPE turns are (i, i + width / 2).
struct GateRepresentativesParams {
  const void* pooled = nullptr;  // [batch, heads, count, in]
  const void* map = nullptr;  // [out_heads, width, in], contiguous, of `element`; none: in is width
  const float* norm =
      nullptr;  // [width]; with it rows are divided by sqrt(mean of squares + eps) first
  const float* cos =
      nullptr;  // of representative i: width / 2 from i * angle_stride on; both or none
  const float* sin = nullptr;
  void* reps = nullptr;  // [batch, out_heads, count, width], bfloat16
  Strides pooled_strides;
  Strides reps_strides;
  Element element = Element::kBFloat16;  // of pooled and map

  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t out_heads = 0;  // a multiple of heads: several maps may read one head
  std::int64_t count = 0;
  std::int64_t in = 0;
  std::int64_t width = 0;
  std::int64_t angle_stride = 0;
  double eps = 0.0;
};

}  // namespace seer
