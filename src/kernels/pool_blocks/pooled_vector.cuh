// Maximum, minimum and sum of neighbouring columns over the tokens of a block.
#pragma once

#include <cstdint>

#include "kernels/device/packed_vector.cuh"

namespace seer {

// Of x and y, or of their pairs; NaN where either is.
__device__ __forceinline__ float max_or_nan(float x, float y) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
  return result;
}
__device__ __forceinline__ float min_or_nan(float x, float y) {
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(y));
  return result;
}
template <typename Narrow>
__device__ __forceinline__ Narrow max_or_nan(Narrow x, Narrow y) {
  if constexpr (requires { __hmax2_nan(x, y); }) {
    return __hmax2_nan(x, y);
  } else {
    return __hmax_nan(x, y);
  }
}
template <typename Narrow>
__device__ __forceinline__ Narrow min_or_nan(Narrow x, Narrow y) {
  if constexpr (requires { __hmin2_nan(x, y); }) {
    return __hmin2_nan(x, y);
  } else {
    return __hmin_nan(x, y);
  }
}

// Which of the kinds are asked for.
struct PooledKinds {
  bool max, min, avg;
  __device__ __forceinline__ int count() const { return max + min + avg; }
};

// kHasExtremes: whether max or min may be asked for.
template <DeviceElement T, int kCount, bool kHasExtremes>
struct PooledVector {
  using Packed = PackedVector<T, kCount>;
  Packed largest, smallest;
  float sum[kCount];

  // Of no token: the extremes need a first one.
  __device__ __forceinline__ PooledVector() {
    if constexpr (kHasExtremes) {
      float infinities[kCount], minus_infinities[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        infinities[i] = __int_as_float(0x7f800000);
        minus_infinities[i] = -infinities[i];
      }
      largest = Packed::from_floats(minus_infinities);
      smallest = Packed::from_floats(infinities);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum[i] = 0.0f;
  }

  // `values` are those of x.
  __device__ __forceinline__ void add(const Packed& x, const float (&values)[kCount]) {
    if constexpr (kHasExtremes) {
#pragma unroll
      for (int i = 0; i < Packed::kUnits; ++i) {
        largest.set_unit(i, max_or_nan(largest.unit(i), x.unit(i)));
        smallest.set_unit(i, min_or_nan(smallest.unit(i), x.unit(i)));
      }
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum[i] += values[i];
  }

  // Over the lanes of a warp whose numbers differ in bits from `lowest` (a power of two) on; afterwards in each of them.
  __device__ __forceinline__ void add_lanes(int lowest) {
    for (int step = lowest; step < 32; step *= 2) {
      if constexpr (kHasExtremes) {
#pragma unroll
        for (int i = 0; i < Packed::kUnits; ++i) {
          const auto max = largest.unit(i), min = smallest.unit(i);
          largest.set_unit(i, max_or_nan(max, __shfl_xor_sync(0xffffffffu, max, step)));
          smallest.set_unit(i, min_or_nan(min, __shfl_xor_sync(0xffffffffu, min, step)));
        }
      }
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], step);
    }
  }

  // The kinds asked for, `stride` elements apart.
  __device__ __forceinline__ void store(PooledKinds kinds, int tokens, std::int64_t stride,
                                        T* out) const {
    if constexpr (kHasExtremes) {
      if (kinds.max) largest.store(out), out += stride;
      if (kinds.min) smallest.store(out), out += stride;
    }
    if (!kinds.avg) return;
    float average[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) average[i] = sum[i] / static_cast<float>(tokens);
    Packed::from_floats(average).store(out);
  }
};

}  // namespace seer
