// What kernels know of a tensor beside its pointer and sizes.
#pragma once

#include <cstdint>

namespace seer {

// CPU kernels know all but float16, CUDA kernels all but float64.
enum class Element { kFloat32, kBFloat16, kFloat16, kFloat64 };

// "float32", ...
constexpr const char* element_name(Element element) {
  switch (element) {
    case Element::kFloat32: return "float32";
    case Element::kBFloat16: return "bfloat16";
    case Element::kFloat16: return "float16";
    case Element::kFloat64: return "float64";
  }
  return "unknown";
}

// Element strides of a [batch, heads, length, head_dim] tensor whose last dimension is contiguous.
struct Strides {
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t row = 0;
};

}  // namespace seer
