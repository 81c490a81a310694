#include "kernels/gate_representatives/reference.h"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "base/element_value.h"

namespace seer {
namespace {

template <typename T>
void represent(const GateRepresentativesParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = params.width / 2;
  std::vector<double> rep(static_cast<std::size_t>(params.width));
  for (std::int64_t index = begin; index < end; ++index) {
    const std::int64_t i = index % params.count;
    const std::int64_t out_head = index / params.count % params.out_heads;
    const std::int64_t batch = index / params.count / params.out_heads;
    const std::int64_t head = out_head / (params.out_heads / params.heads);
    const T* pooled = static_cast<const T*>(params.pooled) + batch * params.pooled_strides.batch +
                      head * params.pooled_strides.head + i * params.pooled_strides.row;
    for (std::int64_t column = 0; column < params.width; ++column) {
      double& value = rep[column];
      if (params.map == nullptr) {
        value = widen(pooled[column]);
        continue;
      }
      const T* row =
          static_cast<const T*>(params.map) + (out_head * params.width + column) * params.in;
      value = 0.0;
      for (std::int64_t k = 0; k < params.in; ++k) value += widen(pooled[k]) * widen(row[k]);
    }
    if (params.norm != nullptr) {
      double squares = 0.0;
      for (const double value : rep) squares += value * value;
      const double root = std::sqrt(squares / static_cast<double>(params.width) + params.eps);
      for (std::int64_t column = 0; column < params.width; ++column)
        rep[column] = rep[column] / root * static_cast<double>(params.norm[column]);
    }
    if (params.cos != nullptr) {
      const float* cos = params.cos + i * params.angle_stride;
      const float* sin = params.sin + i * params.angle_stride;
      for (std::int64_t column = 0; column < half; ++column) {
        const double first = rep[column], second = rep[column + half];
        rep[column] = first * cos[column] - second * sin[column];
        rep[column + half] = second * cos[column] + first * sin[column];
      }
    }
    auto* out = static_cast<std::uint16_t*>(params.reps) + batch * params.reps_strides.batch +
                out_head * params.reps_strides.head + i * params.reps_strides.row;
    for (std::int64_t column = 0; column < params.width; ++column)
      narrow(rep[column], out + column);
  }
}

}  // namespace

void gate_representatives_reference(const GateRepresentativesParams& params, std::int64_t begin,
                                    std::int64_t end) {
  switch (params.element) {
    case Element::kFloat32: return represent<float>(params, begin, end);
    case Element::kBFloat16: return represent<std::uint16_t>(params, begin, end);
    case Element::kFloat64: return represent<double>(params, begin, end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "gate_representatives_reference: expected float32, bfloat16 or float64 elements");
}

}  // namespace seer
