// What kernels know of a tensor beside its pointer and sizes.
#pragma once

#include <cstdint>

namespace seer {

enum class Element { kFloat32, kBFloat16, kFloat64, kFloat16 };

// Element strides of a [batch, heads, length, head_dim] tensor whose last dimension is contiguous.
struct Strides {
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t row = 0;
};

}  // namespace seer
