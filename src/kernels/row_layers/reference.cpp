#include "kernels/row_layers/reference.h"

#include <cmath>
#include <stdexcept>

#include "base/element_value.h"

namespace seer {
namespace {

template <typename T>
double rounded(double x) {
  T value;
  narrow(x, &value);
  return widen(value);
}

struct RmsNorm {
  template <typename T>
  static void run(const RmsNormParams& params, std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin * params.groups; index < end * params.groups; ++index) {
      const T* x = static_cast<const T*>(params.x) + index / params.groups * params.row_stride +
                   index % params.groups * params.group_stride;
      double squares = 0.0;
      for (std::int64_t i = 0; i < params.width; ++i) squares += widen(x[i]) * widen(x[i]);
      const double scale =
          1.0 / std::sqrt(squares / static_cast<double>(params.width) + params.eps);
      T* out = static_cast<T*>(params.out) + index * params.width;
      for (std::int64_t i = 0; i < params.width; ++i) {
        narrow(rounded<T>(widen(x[i]) * scale) * widen(static_cast<const T*>(params.weight)[i]),
               out + i);
      }
    }
  }
};

struct Rope {
  template <typename T>
  static void run(const RopeParams& params, std::int64_t begin, std::int64_t end) {
    const std::int64_t half = params.head_dim / 2;
    for (std::int64_t row = begin; row < end; ++row) {
      const float* cos = params.cos + row * half;
      const float* sin = params.sin + row * half;
      for (std::int64_t head = 0; head < params.heads; ++head) {
        const T* x = static_cast<const T*>(params.x) + row * params.x_row_stride +
                     head * params.x_head_stride;
        T* out = static_cast<T*>(params.out) + row * params.out_row_stride +
                 head * params.out_head_stride;
        for (std::int64_t i = 0; i < half; ++i) {
          const double c = widen(cos[i]), s = widen(sin[i]);
          const double first = widen(x[i]), second = widen(x[i + half]);
          narrow(first * c - second * s, out + i);
          narrow(second * c + first * s, out + i + half);
        }
      }
    }
  }
};

struct Swiglu {
  template <typename T>
  static void run(const SwigluParams& params, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const T* gate = static_cast<const T*>(params.gate_up) + row * params.row_stride;
      const T* up = gate + params.width;
      T* out = static_cast<T*>(params.out) + row * params.width;
      for (std::int64_t i = 0; i < params.width; ++i) {
        const double silu = rounded<T>(widen(gate[i]) / (1.0 + std::exp(-widen(gate[i]))));
        narrow(silu * widen(up[i]), out + i);
      }
    }
  }
};

template <typename Layer, typename Params>
void run(const Params& params, std::int64_t begin, std::int64_t end) {
  switch (params.element) {
    case Element::kFloat32: return Layer::template run<float>(params, begin, end);
    case Element::kBFloat16: return Layer::template run<std::uint16_t>(params, begin, end);
    case Element::kFloat64: return Layer::template run<double>(params, begin, end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "row layers' reference: expected float32, bfloat16 or float64 elements");
}

}  // namespace

void rms_norm_reference(const RmsNormParams& params, std::int64_t begin, std::int64_t end) {
  run<RmsNorm>(params, begin, end);
}

void rope_reference(const RopeParams& params, std::int64_t begin, std::int64_t end) {
  run<Rope>(params, begin, end);
}

void swiglu_reference(const SwigluParams& params, std::int64_t begin, std::int64_t end) {
  run<Swiglu>(params, begin, end);
}

}  // namespace seer
