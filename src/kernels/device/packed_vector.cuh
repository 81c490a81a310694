// Elements that stay packed in registers until they are used: pairs of two-byte elements are one 32-bit word each. (Arrays
// of two-byte elements, as in vector.cuh, take a register an element once the compiler has split them.)
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/device/vector.cuh"

namespace seer {

template <typename T>
struct PairOf;
template <>
struct PairOf<__nv_bfloat16> {
  using Type = __nv_bfloat162;
};
template <>
struct PairOf<__half> {
  using Type = __half2;
};

__device__ __forceinline__ float2 to_floats(__nv_bfloat162 pair) {
  return __bfloat1622float2(pair);
}
__device__ __forceinline__ float2 to_floats(__half2 pair) {
  return __half22float2(pair);
}

// kCount neighbouring elements, of which a unit is what one instruction works on: here one element.
template <DeviceElement T, int kCount>
struct PackedVector {
  using Unit = T;
  static constexpr int kUnits = kCount;
  static constexpr int kPerUnit = 1;
  Vector<T, kCount> data;

  static __device__ __forceinline__ PackedVector load(const T* from) {
    return {Vector<T, kCount>::load(from)};
  }
  __device__ __forceinline__ void store(T* to) const { data.store(to); }
  __device__ __forceinline__ Unit unit(int i) const { return data.elements[i]; }
  __device__ __forceinline__ void set_unit(int i, Unit value) { data.elements[i] = value; }
  __device__ __forceinline__ void to_floats(float (&values)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = to_float(data.elements[i]);
  }
  static __device__ __forceinline__ PackedVector from_floats(const float (&values)[kCount]) {
    PackedVector result;
#pragma unroll
    for (int i = 0; i < kCount; ++i) result.data.elements[i] = from_float<T>(values[i]);
    return result;
  }
};

// Eight two-byte elements: four pairs.
template <DeviceElement T>
requires(sizeof(T) == 2) struct PackedVector<T, 8> {
  using Unit = typename PairOf<T>::Type;
  static constexpr int kUnits = 4;
  static constexpr int kPerUnit = 2;
  std::uint32_t words[4];

  static __device__ __forceinline__ PackedVector load(const T* from) {
    const uint4 all = *reinterpret_cast<const uint4*>(from);
    return {{all.x, all.y, all.z, all.w}};
  }
  __device__ __forceinline__ void store(T* to) const {
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
  }
  __device__ __forceinline__ Unit unit(int i) const {
    return *reinterpret_cast<const Unit*>(&words[i]);
  }
  __device__ __forceinline__ void set_unit(int i, Unit value) {
    words[i] = *reinterpret_cast<const std::uint32_t*>(&value);
  }
  __device__ __forceinline__ void to_floats(float (&values)[8]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = seer::to_floats(unit(i));
      values[2 * i] = pair.x;
      values[2 * i + 1] = pair.y;
    }
  }
  static __device__ __forceinline__ PackedVector from_floats(const float (&values)[8]) {
    PackedVector result;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (std::same_as<T, __nv_bfloat16>) {
        result.set_unit(i, __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]));
      } else {
        result.set_unit(i, __floats2half2_rn(values[2 * i], values[2 * i + 1]));
      }
    }
    return result;
  }
};

}  // namespace seer
