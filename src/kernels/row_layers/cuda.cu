// Bound by memory: each element is read once and written once, 16 bytes at a time.
#include "kernels/row_layers/cuda.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/device/vector.cuh"
#include "kernels/row_layers/rows.cuh"
#include "kernels/row_layers/turn_pair.cuh"

namespace seer {
namespace {

// --- rms_norm ------------------------------------------------------------------------------------

// kLanes threads share a row. Each keeps its first kKept vectors in registers; those of longer rows are read again.
constexpr int kKept = 4;

template <typename T, int kCount, int kLanes>
__global__ void __launch_bounds__(kRowThreads) rms_norm_kernel(const RmsNormParams params) {
  using Vec = Vector<T, kCount>;
  const unsigned index = (blockIdx.x * kRowThreads + threadIdx.x) / kLanes;  // of [rows, groups]
  const int lane = static_cast<int>(threadIdx.x % kLanes);
  const auto groups = static_cast<unsigned>(params.groups);
  // A block's last threads may have no row: they go along, since their warp sums together.
  const bool has_row = index / groups < params.rows;
  const int vectors = has_row ? static_cast<int>(params.width / kCount) : 0;
  const T* x = static_cast<const T*>(params.x) + index / groups * params.row_stride +
               index % groups * params.group_stride;

  Vec kept[kKept];
  float squares = 0.0f;
  const auto add_squares = [&squares](const Vec& vector) {
    for (int i = 0; i < kCount; ++i) {
      const float value = to_float(vector.elements[i]);
      squares += value * value;
    }
  };
#pragma unroll
  for (int k = 0; k < kKept; ++k) {
    if (lane + k * kLanes < vectors) kept[k] = Vec::load(x + (lane + k * kLanes) * kCount);
  }
#pragma unroll
  for (int k = 0; k < kKept; ++k) {
    if (lane + k * kLanes < vectors) add_squares(kept[k]);
  }
  for (int v = lane + kKept * kLanes; v < vectors; v += kLanes)
    add_squares(Vec::load(x + v * kCount));

  const float scale =
      1.0f / sqrtf(sum_over_row<kLanes>(squares) / static_cast<float>(params.width) +
                   static_cast<float>(params.eps));

  const T* weight = static_cast<const T*>(params.weight);
  T* out = static_cast<T*>(params.out) + index * params.width;
  const auto write = [&](int v, const Vec& vector) {
    const Vec factor = Vec::load(weight + v * kCount);
    Vec normalised;
    for (int i = 0; i < kCount; ++i) {
      const float value = rounded<T>(to_float(vector.elements[i]) * scale);
      normalised.elements[i] = from_float<T>(value * to_float(factor.elements[i]));
    }
    normalised.store(out + v * kCount);
  };
#pragma unroll
  for (int k = 0; k < kKept; ++k) {
    if (lane + k * kLanes < vectors) write(lane + k * kLanes, kept[k]);
  }
  for (int v = lane + kKept * kLanes; v < vectors; v += kLanes) write(v, Vec::load(x + v * kCount));
}

template <typename T, int kCount, int kLanes>
void launch_rms_norm(const RmsNormParams& params, CUstream_st* stream) {
  const std::int64_t threads = params.rows * params.groups * kLanes;
  rms_norm_kernel<T, kCount, kLanes>
      <<<static_cast<unsigned>(ceil_div(threads, std::int64_t{kRowThreads})), kRowThreads, 0,
         stream>>>(params);
  check_launch("rms_norm_kernel");
}

template <typename T, int kCount>
void rms_norm_of(const RmsNormParams& params, CUstream_st* stream) {
  const std::int64_t vectors = ceil_div(params.width, std::int64_t{kCount});
  const auto advance = [](RmsNormParams& some, std::int64_t rows) {
    some.x = moved<T>(some.x, rows * some.row_stride);
    some.out = moved<T>(some.out, rows * some.groups * some.width);
  };
  // The fewest threads that keep a row, since each must have several loads on their way.
  const std::int64_t wanted = ceil_div(vectors, std::int64_t{kKept});
  const auto launch = [&]<int kLanes>(std::integral_constant<int, kLanes>) {
    for_row_ranges(params, params.groups * kLanes, advance, [&](const RmsNormParams& some) {
      launch_rms_norm<T, kCount, kLanes>(some, stream);
    });
  };
  if constexpr (kCount > 1) {
    if (wanted <= 4) return launch(std::integral_constant<int, 4>());
    if (wanted <= 8) return launch(std::integral_constant<int, 8>());
    if (wanted <= 32) return launch(std::integral_constant<int, 32>());
    if (wanted <= 64) return launch(std::integral_constant<int, 64>());
    if (wanted <= 128) return launch(std::integral_constant<int, 128>());
  } else {
    if (wanted <= 32) return launch(std::integral_constant<int, 32>());
  }
  launch(std::integral_constant<int, kRowThreads>());
}

// --- rope ----------------------------------------------------------------------------------------

// A thread turns kCount pairs. Its angles are those of the other heads too and come from the cache; threads that turn
// several heads with one set of angles have fewer loads on their way and were slower.
template <typename T, int kCount>
__global__ void __launch_bounds__(kRowThreads) rope_kernel(const RopeParams params) {
  using Vec = Vector<T, kCount>;
  constexpr int kAngles = kCount > 4 ? 4 : kCount;  // 16 bytes
  using Angles = Vector<float, kAngles>;
  const auto half = static_cast<unsigned>(params.head_dim / 2);
  const unsigned lanes = half / kCount;
  const auto heads = static_cast<unsigned>(params.heads);
  const unsigned index = blockIdx.x * kRowThreads + threadIdx.x;  // of [rows, heads, lanes]
  const unsigned row = index / lanes / heads;
  if (row >= params.rows) return;
  const unsigned head = index / lanes % heads;
  const unsigned i = index % lanes * kCount;

  const T* x =
      static_cast<const T*>(params.x) + row * params.x_row_stride + head * params.x_head_stride + i;
  T* out =
      static_cast<T*>(params.out) + row * params.out_row_stride + head * params.out_head_stride + i;
  const std::int64_t first_angle = static_cast<std::int64_t>(row) * half + i;
  const Vec first = Vec::load(x), second = Vec::load(x + half);
  Vec turned_first, turned_second;
#pragma unroll
  for (int part = 0; part < kCount; part += kAngles) {
    const Angles cos = Angles::load(params.cos + first_angle + part);
    const Angles sin = Angles::load(params.sin + first_angle + part);
#pragma unroll
    for (int k = 0; k < kAngles; ++k) {
      const float a = to_float(first.elements[part + k]), b = to_float(second.elements[part + k]);
      const TurnedPair turned = turn_pair(a, b, cos.elements[k], sin.elements[k]);
      turned_first.elements[part + k] = from_float<T>(turned.first);
      turned_second.elements[part + k] = from_float<T>(turned.second);
    }
  }
  turned_first.store(out);
  turned_second.store(out + half);
}

template <typename T, int kCount>
void rope_of(const RopeParams& params, CUstream_st* stream) {
  const std::int64_t half = params.head_dim / 2;
  const std::int64_t threads_per_row = half / kCount * params.heads;
  const auto advance = [half](RopeParams& some, std::int64_t rows) {
    some.x = moved<T>(some.x, rows * some.x_row_stride);
    some.out = moved<T>(some.out, rows * some.out_row_stride);
    some.cos += rows * half;
    some.sin += rows * half;
  };
  for_row_ranges(params, threads_per_row, advance, [&](const RopeParams& some) {
    const std::int64_t blocks = ceil_div(some.rows * threads_per_row, std::int64_t{kRowThreads});
    rope_kernel<T, kCount><<<static_cast<unsigned>(blocks), kRowThreads, 0, stream>>>(some);
    check_launch("rope_kernel");
  });
}

// --- swiglu --------------------------------------------------------------------------------------

template <typename T>
__device__ __forceinline__ float silu(float x) {
  if constexpr (std::same_as<T, float>) {
    return x / (1.0f + expf(-x));
  } else {
    // Their errors, some units of the last place of float32, vanish in the rounding to T.
    return __fdividef(x, 1.0f + __expf(-x));
  }
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kRowThreads) swiglu_kernel(const SwigluParams params) {
  using Vec = Vector<T, kCount>;
  const auto vectors = static_cast<unsigned>(params.width / kCount);
  const unsigned index = blockIdx.x * kRowThreads + threadIdx.x;  // of [rows, vectors]
  const unsigned row = index / vectors;
  if (row >= params.rows) return;
  const std::int64_t i = static_cast<std::int64_t>(index % vectors) * kCount;
  const T* gate_up = static_cast<const T*>(params.gate_up) + row * params.row_stride + i;
  const Vec gate = Vec::load(gate_up);
  const Vec up = Vec::load(gate_up + params.width);
  Vec product;
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const float activated = rounded<T>(silu<T>(to_float(gate.elements[k])));
    product.elements[k] = from_float<T>(activated * to_float(up.elements[k]));
  }
  product.store(static_cast<T*>(params.out) + row * params.width + i);
}

template <typename T, int kCount>
void swiglu_of(const SwigluParams& params, CUstream_st* stream) {
  const std::int64_t vectors = params.width / kCount;
  const auto advance = [](SwigluParams& some, std::int64_t rows) {
    some.gate_up = moved<T>(some.gate_up, rows * some.row_stride);
    some.out = moved<T>(some.out, rows * some.width);
  };
  for_row_ranges(params, vectors, advance, [&](const SwigluParams& some) {
    const std::int64_t blocks = ceil_div(some.rows * vectors, std::int64_t{kRowThreads});
    swiglu_kernel<T, kCount><<<static_cast<unsigned>(blocks), kRowThreads, 0, stream>>>(some);
    check_launch("swiglu_kernel");
  });
}

}  // namespace

void rms_norm_cuda(const RmsNormParams& params, CUstream_st* stream) {
  if (params.width == 0 || params.groups == 0) return;
  dispatch_element(params.element, "rms_norm", [&]<typename T>() {
    const bool aligned = is_16_byte_aligned<T>(params.x, params.row_stride, params.group_stride) &&
                         is_16_byte_aligned<T>(params.weight, params.width) &&
                         is_16_byte_aligned<T>(params.out);
    aligned ? rms_norm_of<T, kElementsOf16Bytes<T>>(params, stream)
            : rms_norm_of<T, 1>(params, stream);
  });
}

void rope_cuda(const RopeParams& params, CUstream_st* stream) {
  if (params.head_dim == 0 || params.heads == 0) return;
  const std::int64_t half = params.head_dim / 2;
  dispatch_element(params.element, "rope", [&]<typename T>() {
    const bool aligned =
        is_16_byte_aligned<T>(params.x, params.x_row_stride, params.x_head_stride, half) &&
        is_16_byte_aligned<T>(params.out, params.out_row_stride, params.out_head_stride) &&
        is_16_byte_aligned<float>(params.cos) && is_16_byte_aligned<float>(params.sin);
    aligned ? rope_of<T, kElementsOf16Bytes<T>>(params, stream) : rope_of<T, 1>(params, stream);
  });
}

void swiglu_cuda(const SwigluParams& params, CUstream_st* stream) {
  if (params.width == 0) return;
  dispatch_element(params.element, "swiglu", [&]<typename T>() {
    const bool aligned = is_16_byte_aligned<T>(params.gate_up, params.row_stride, params.width) &&
                         is_16_byte_aligned<T>(params.out);
    aligned ? swiglu_of<T, kElementsOf16Bytes<T>>(params, stream) : swiglu_of<T, 1>(params, stream);
  });
}

}  // namespace seer
