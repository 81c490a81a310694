#include "kernels/gemv/reference.h"

#include <stdexcept>

#include "base/element_value.h"

namespace seer {
namespace {

template <typename T>
void gemv(const GemvParams& params, std::int64_t begin, std::int64_t end) {
  for (std::int64_t b = 0; b < params.batch; ++b) {
    const T* x = static_cast<const T*>(params.x) + b * params.x_stride;
    for (std::int64_t o = begin; o < end; ++o) {
      const T* row = static_cast<const T*>(params.weight) + o * params.weight_stride;
      double sum = 0.0;
      for (std::int64_t i = 0; i < params.in_features; ++i) sum += widen(x[i]) * widen(row[i]);
      if (params.bias != nullptr) sum += widen(static_cast<const T*>(params.bias)[o]);
      narrow(sum, static_cast<T*>(params.out) + b * params.out_features + o);
    }
  }
}

}  // namespace

void gemv_reference(const GemvParams& params, std::int64_t begin, std::int64_t end) {
  switch (params.element) {
    case Element::kFloat32: return gemv<float>(params, begin, end);
    case Element::kBFloat16: return gemv<std::uint16_t>(params, begin, end);
    case Element::kFloat64: return gemv<double>(params, begin, end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument("gemv_reference: expected float32, bfloat16 or float64 elements");
}

}  // namespace seer
