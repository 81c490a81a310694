// Elements in registers: 16 bytes of a tensor at a time, computed in float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <bit>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "base/tensor_layout.h"

namespace seer {

template <typename T>
concept DeviceElement =
    std::same_as<T, float> || std::same_as<T, __nv_bfloat16> || std::same_as<T, __half>;

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
__device__ __forceinline__ float to_float(__half x) {
  return __half2float(x);
}

// To the nearest, ties to even.
template <DeviceElement T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (std::same_as<T, float>) {
    return x;
  } else if constexpr (std::same_as<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return __float2half_rn(x);
  }
}

// What is left of x in the element type.
template <DeviceElement T>
__device__ __forceinline__ float rounded(float x) {
  return to_float(from_float<T>(x));
}

template <DeviceElement T>
inline constexpr int kElementsOf16Bytes = 16 / static_cast<int>(sizeof(T));

// kCount neighbouring elements; moved as one where kCount is more than one.
template <DeviceElement T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T elements[kCount];

  static __device__ __forceinline__ Vector load(const T* from) {
    return *reinterpret_cast<const Vector*>(from);
  }
  __device__ __forceinline__ void store(T* to) const { *reinterpret_cast<Vector*>(to) = *this; }
};

// Whether 16 bytes can be moved at a time from this pointer on, in steps of these many elements.
template <DeviceElement T, std::same_as<std::int64_t>... Steps>
bool is_16_byte_aligned(const void* pointer, Steps... steps) {
  return std::bit_cast<std::uintptr_t>(pointer) % 16 == 0 &&
         ((steps % kElementsOf16Bytes<T> == 0) && ...);
}

// Calls function.template operator()<T>() with the C++ type of the elements.
template <typename Function>
void dispatch_element(Element element, const char* kernel, const Function& function) {
  switch (element) {
    case Element::kFloat32: return function.template operator()<float>();
    case Element::kBFloat16: return function.template operator()<__nv_bfloat16>();
    case Element::kFloat16: return function.template operator()<__half>();
    case Element::kFloat64: break;
  }
  throw std::runtime_error(std::string(kernel) + ": element type " + element_name(element) +
                           " is not supported on CUDA (supported: float32, bfloat16, float16)");
}

}  // namespace seer
