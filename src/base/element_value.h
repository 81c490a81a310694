// One element of a tensor as a double, and back: what references compute in.
#pragma once

#include <cstdint>

#include "base/bfloat16.h"

namespace seer {

inline double widen(float x) {
  return static_cast<double>(x);
}
inline double widen(double x) {
  return x;
}
inline double widen(std::uint16_t bfloat16) {
  return static_cast<double>(bfloat16_to_float(bfloat16));
}

inline void narrow(double x, float* out) {
  *out = static_cast<float>(x);
}
inline void narrow(double x, double* out) {
  *out = x;
}
inline void narrow(double x, std::uint16_t* bfloat16) {
  *bfloat16 = float_to_bfloat16(static_cast<float>(x));
}

}  // namespace seer
