#pragma once

namespace seer {

// Smallest integer not below a / b, for a >= 0 and b > 0.
template <typename Int>
constexpr Int ceil_div(Int a, Int b) {
  return (a + b - 1) / b;
}

}  // namespace seer
