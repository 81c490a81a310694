// Bound by memory: each element is read once and written once, 16 bytes at a time.
#include "kernels/row_layers_backward/cuda.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/device/vector.cuh"
#include "kernels/row_layers/rows.cuh"

namespace seer {
namespace {

// --- rms_norm ------------------------------------------------------------------------------------

// Blocks that each sum the weight's gradient over their rows: about four for each multiprocessor of a large GPU, and few
// enough that adding their sums costs little.
constexpr std::int64_t kMaxParts = 512;
constexpr std::int64_t kRowsOfPart = 8;  // at least

// Vectors of a row that each of its kLanes threads keeps in registers, as it does their sums for the weight's gradient.
// Those of longer rows are read again, and their sums kept in the block's partial sums in memory.
constexpr int kKept = 4;

template <typename T, int kCount, int kLanes>
__global__ void __launch_bounds__(kRowThreads)
    rms_norm_backward_kernel(const RmsNormBackwardParams params) {
  using Vec = Vector<T, kCount>;
  constexpr int kRowsAtOnce = kRowThreads / kLanes;
  constexpr bool kMayBeLonger = kRowsAtOnce == 1;  // than what is kept
  const int lane = static_cast<int>(threadIdx.x % kLanes);
  const int slot = static_cast<int>(threadIdx.x / kLanes);
  const int vectors = static_cast<int>(params.width / kCount);
  const std::int64_t rows = params.rows * params.groups;
  const T* weight = static_cast<const T*>(params.weight);
  float* partial = params.partials + blockIdx.x * params.width;

  float sums[kKept][kCount] = {};
  if constexpr (kMayBeLonger) {
    for (int v = lane + kKept * kLanes; v < vectors; v += kLanes)
      for (int i = 0; i < kCount; ++i) partial[v * kCount + i] = 0.0f;
  }

  // All threads of a block make the same number of turns, since those of a row sum together.
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kRowsAtOnce; first < rows;
       first += static_cast<std::int64_t>(gridDim.x) * kRowsAtOnce) {
    const std::int64_t index = first + slot;
    const int own = index < rows ? vectors : 0;
    const std::int64_t row = index / params.groups, group = index % params.groups;
    const T* x =
        static_cast<const T*>(params.x) + row * params.x_row_stride + group * params.x_group_stride;
    const T* grad = static_cast<const T*>(params.grad) + row * params.grad_row_stride +
                    group * params.grad_group_stride;
    T* grad_x = static_cast<T*>(params.grad_x) + index * params.width;

    Vec kept_x[kKept], kept_grad[kKept];
    float squares = 0.0f, products = 0.0f;
    const auto add = [&](int v, const Vec& of_x, const Vec& of_grad) {
      const Vec factor = Vec::load(weight + v * kCount);
      for (int i = 0; i < kCount; ++i) {
        const float value = to_float(of_x.elements[i]);
        squares += value * value;
        products += to_float(factor.elements[i]) * to_float(of_grad.elements[i]) * value;
      }
    };
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
      const int v = lane + k * kLanes;
      if (v >= own) continue;
      kept_x[k] = Vec::load(x + v * kCount);
      kept_grad[k] = Vec::load(grad + v * kCount);
    }
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
      const int v = lane + k * kLanes;
      if (v < own) add(v, kept_x[k], kept_grad[k]);
    }
    if constexpr (kMayBeLonger) {
      for (int v = lane + kKept * kLanes; v < own; v += kLanes)
        add(v, Vec::load(x + v * kCount), Vec::load(grad + v * kCount));
    }
    squares = sum_over_row<kLanes>(squares);
    if constexpr (kLanes > 32) __syncthreads();
    products = sum_over_row<kLanes>(products);
    if constexpr (kLanes > 32) __syncthreads();

    const auto width = static_cast<float>(params.width);
    const float scale = 1.0f / sqrtf(squares / width + static_cast<float>(params.eps));
    const float along = products * scale * scale / width;  // mean(weight * grad * n) * s
    // Returns grad * n.
    const auto write = [&](int v, const Vec& of_x, const Vec& of_grad, float(&weighted)[kCount]) {
      const Vec factor = Vec::load(weight + v * kCount);
      Vec out;
      for (int i = 0; i < kCount; ++i) {
        const float value = to_float(of_x.elements[i]), slope = to_float(of_grad.elements[i]);
        out.elements[i] =
            from_float<T>(scale * (to_float(factor.elements[i]) * slope - value * along));
        weighted[i] = slope * value * scale;
      }
      out.store(grad_x + v * kCount);
    };
    float weighted[kCount];
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
      const int v = lane + k * kLanes;
      if (v >= own) continue;
      write(v, kept_x[k], kept_grad[k], weighted);
      for (int i = 0; i < kCount; ++i) sums[k][i] += weighted[i];
    }
    if constexpr (kMayBeLonger) {
      for (int v = lane + kKept * kLanes; v < own; v += kLanes) {
        write(v, Vec::load(x + v * kCount), Vec::load(grad + v * kCount), weighted);
        for (int i = 0; i < kCount; ++i) partial[v * kCount + i] += weighted[i];
      }
    }
  }

  if constexpr (kRowsAtOnce == 1) {
#pragma unroll
    for (int k = 0; k < kKept; ++k) {
      const int v = lane + k * kLanes;
      if (v >= vectors) continue;
      for (int i = 0; i < kCount; ++i) partial[v * kCount + i] = sums[k][i];
    }
  } else {
    __shared__ float of_slot[kRowsAtOnce][kKept * kLanes * kCount];
#pragma unroll
    for (int k = 0; k < kKept; ++k)
      for (int i = 0; i < kCount; ++i) of_slot[slot][(lane + k * kLanes) * kCount + i] = sums[k][i];
    __syncthreads();
    for (int column = static_cast<int>(threadIdx.x); column < params.width; column += kRowThreads) {
      float sum = 0.0f;
      for (int i = 0; i < kRowsAtOnce; ++i) sum += of_slot[i][column];
      partial[column] = sum;
    }
  }
}

// grad_weight from the partial sums: kSumLanes threads a column, each over every kSumLanes-th part.
constexpr int kColumns = 32, kSumLanes = kRowThreads / kColumns;

template <typename T>
__global__ void __launch_bounds__(kRowThreads)
    add_weight_partials_kernel(const RmsNormBackwardParams params) {
  __shared__ float of_lane[kSumLanes][kColumns];
  const int at = static_cast<int>(threadIdx.x % kColumns);
  const int lane = static_cast<int>(threadIdx.x / kColumns);
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kColumns + at;
  float sum = 0.0f;
  if (column < params.width) {
    for (std::int64_t part = lane; part < params.parts; part += kSumLanes)
      sum += params.partials[part * params.width + column];
  }
  of_lane[lane][at] = sum;
  __syncthreads();
  if (lane != 0 || column >= params.width) return;
  for (int i = 1; i < kSumLanes; ++i) sum += of_lane[i][at];
  static_cast<T*>(params.grad_weight)[column] = from_float<T>(sum);
}

template <typename T, int kCount>
void rms_norm_backward_of(const RmsNormBackwardParams& params, CUstream_st* stream) {
  const auto launch = [&]<int kLanes>(std::integral_constant<int, kLanes>) {
    rms_norm_backward_kernel<T, kCount, kLanes>
        <<<static_cast<unsigned>(params.parts), kRowThreads, 0, stream>>>(params);
    check_launch("rms_norm_backward_kernel");
  };
  // The fewest threads that keep a row, since each must have several loads on their way.
  const std::int64_t wanted = ceil_div(params.width, std::int64_t{kCount} * kKept);
  if (wanted <= 4) {
    launch(std::integral_constant<int, 4>());
  } else if (wanted <= 32) {
    launch(std::integral_constant<int, 32>());
  } else if (wanted <= 128) {
    launch(std::integral_constant<int, 128>());
  } else {
    launch(std::integral_constant<int, kRowThreads>());
  }
  const std::int64_t blocks = ceil_div(params.width, std::int64_t{kColumns});
  add_weight_partials_kernel<T><<<static_cast<unsigned>(blocks), kRowThreads, 0, stream>>>(params);
  check_launch("add_weight_partials_kernel");
}

// --- swiglu --------------------------------------------------------------------------------------

template <typename T>
__device__ __forceinline__ float sigmoid(float x) {
  if constexpr (std::same_as<T, float>) {
    return 1.0f / (1.0f + expf(-x));
  } else {
    // Their errors, some units of the last place of float32, vanish in the rounding to T.
    return __fdividef(1.0f, 1.0f + __expf(-x));
  }
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kRowThreads)
    swiglu_backward_kernel(const SwigluBackwardParams params) {
  using Vec = Vector<T, kCount>;
  const auto vectors = static_cast<unsigned>(params.width / kCount);
  const unsigned index = blockIdx.x * kRowThreads + threadIdx.x;  // of [rows, vectors]
  const unsigned row = index / vectors;
  if (row >= params.rows) return;
  const std::int64_t i = static_cast<std::int64_t>(index % vectors) * kCount;
  const T* gate_up = static_cast<const T*>(params.gate_up) + row * params.row_stride + i;
  const Vec grad = Vec::load(static_cast<const T*>(params.grad) + row * params.grad_row_stride + i);
  const Vec gate = Vec::load(gate_up);
  const Vec up = Vec::load(gate_up + params.width);
  Vec grad_gate, grad_up;
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const float x = to_float(gate.elements[k]), slope = to_float(grad.elements[k]);
    const float s = sigmoid<T>(x);
    grad_gate.elements[k] =
        from_float<T>(slope * to_float(up.elements[k]) * s * (1.0f + x * (1.0f - s)));
    grad_up.elements[k] = from_float<T>(slope * x * s);
  }
  T* out = static_cast<T*>(params.grad_gate_up) + row * 2 * params.width + i;
  grad_gate.store(out);
  grad_up.store(out + params.width);
}

template <typename T, int kCount>
void swiglu_backward_of(const SwigluBackwardParams& params, CUstream_st* stream) {
  const std::int64_t vectors = params.width / kCount;
  const auto advance = [](SwigluBackwardParams& some, std::int64_t rows) {
    some.grad = moved<T>(some.grad, rows * some.grad_row_stride);
    some.gate_up = moved<T>(some.gate_up, rows * some.row_stride);
    some.grad_gate_up = moved<T>(some.grad_gate_up, rows * 2 * some.width);
  };
  for_row_ranges(params, vectors, advance, [&](const SwigluBackwardParams& some) {
    const std::int64_t blocks = ceil_div(some.rows * vectors, std::int64_t{kRowThreads});
    swiglu_backward_kernel<T, kCount>
        <<<static_cast<unsigned>(blocks), kRowThreads, 0, stream>>>(some);
    check_launch("swiglu_backward_kernel");
  });
}

}  // namespace

std::int64_t rms_norm_backward_parts(std::int64_t rows) {
  return std::clamp(ceil_div(rows, kRowsOfPart), std::int64_t{1}, kMaxParts);
}

void rms_norm_backward_cuda(const RmsNormBackwardParams& params, CUstream_st* stream) {
  if (params.width == 0) return;
  dispatch_element(params.element, "rms_norm_backward", [&]<typename T>() {
    const bool aligned =
        is_16_byte_aligned<T>(params.x, params.x_row_stride, params.x_group_stride) &&
        is_16_byte_aligned<T>(params.grad, params.grad_row_stride, params.grad_group_stride) &&
        is_16_byte_aligned<T>(params.weight, params.width) && is_16_byte_aligned<T>(params.grad_x);
    aligned ? rms_norm_backward_of<T, kElementsOf16Bytes<T>>(params, stream)
            : rms_norm_backward_of<T, 1>(params, stream);
  });
}

void swiglu_backward_cuda(const SwigluBackwardParams& params, CUstream_st* stream) {
  if (params.width == 0) return;
  dispatch_element(params.element, "swiglu_backward", [&]<typename T>() {
    const bool aligned = is_16_byte_aligned<T>(params.gate_up, params.row_stride, params.width) &&
                         is_16_byte_aligned<T>(params.grad, params.grad_row_stride) &&
                         is_16_byte_aligned<T>(params.grad_gate_up);
    aligned ? swiglu_backward_of<T, kElementsOf16Bytes<T>>(params, stream)
            : swiglu_backward_of<T, 1>(params, stream);
  });
}

}  // namespace seer
