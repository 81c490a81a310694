// RoPE of one pair, with the CPU kernel's roundings: one product is rounded, the other goes into the sum as it is.
#pragma once

namespace seer {

struct TurnedPair {
  float first, second;
};

__device__ __forceinline__ TurnedPair turn_pair(float first, float second, float cos, float sin) {
  return {__fmaf_rn(first, cos, -__fmul_rn(second, sin)),
          __fmaf_rn(second, cos, __fmul_rn(first, sin))};
}

}  // namespace seer
