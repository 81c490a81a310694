// IEEE half precision as its bits, for tests on tensors in plain memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace seer::test {

inline double float16_to_double(std::uint16_t bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  if (exponent == 0x1F) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  return exponent == 0 ? sign * std::ldexp(fraction, -24)
                       : sign * std::ldexp(1024 + fraction, exponent - 25);
}

// To the nearest, ties to even.
inline std::uint16_t double_to_float16(double value) {
  if (std::isnan(value)) return 0x7E00;
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::abs(value);
  if (size >= 65520.0) return sign | 0x7C00;  // half way to what would come after the largest
  int exponent = 0;
  std::frexp(size, &exponent);  // size is in [2^(exponent - 1), 2^exponent)
  const int unit = exponent < -13 ? -24 : exponent - 11;  // the last place is worth 2^unit
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(size, -unit)));
  // A carry goes into the exponent by itself.
  const int bits = unit == -24 ? steps : ((unit + 24) << 10) + steps;
  return static_cast<std::uint16_t>(sign | bits);
}

}  // namespace seer::test
