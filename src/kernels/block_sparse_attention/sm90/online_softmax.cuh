// The softmax of rows whose scores come tile by tile, in powers of two.
#pragma once

#include <cmath>
#include <cstdint>

namespace seer::sm90 {

__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Of the four threads that hold a row's columns.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// The two rows of a thread. `reference` is subtracted from scores before the exponential; it follows the row's maximum
// only when that has grown by more than kSlack, since rescaling the sums costs more than large exponents do: bfloat16 and
// float32 keep their precision, and 2^kSlack is far from float16's limit.
struct RowState {
  static constexpr float kSlack = 8;

  float reference[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};  // this thread's columns

  // Takes the largest of this thread's scores in the next tile. Where none of the warp's grows past its row's reference,
  // the threads of a row need not know each other's. Returns whether this warp must rescale its sums, and by what.
  __device__ __forceinline__ bool update(const float (&own_largest)[2], float (&factor)[2]) {
    if (!__any_sync(~0u, own_largest[0] > reference[0] + kSlack ||
                             own_largest[1] > reference[1] + kSlack)) {
      return false;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float largest = quad_max(own_largest[i]);
      factor[i] = 1;
      if (!(largest > reference[i] + kSlack)) continue;
      factor[i] = exp2_approx(reference[i] - largest);
      reference[i] = largest;
      sum[i] *= factor[i];
    }
    return true;
  }
  // -inf has no difference to itself.
  __device__ __forceinline__ float subtrahend(int i) const {
    return reference[i] == -INFINITY ? 0 : reference[i];
  }
};

}  // namespace seer::sm90
