#include "kernels/block_sparse_attention_backward/sm90/row_stats.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>

#include "base/ceil_div.h"
#include "kernels/hopper/dependent_launch.cuh"

namespace seer::sm90 {
namespace {

struct StatsArguments {
  const void *out, *grad_out;
  Strides out_strides, grad_out_strides;
  const float *lse, *grad_lse;
  int num_q_heads, q_len;
};

constexpr int kThreads = 256;
constexpr int kRowsInFlight = 4;  // of a thread

template <typename T>
__device__ float2 to_floats(std::uint32_t pair);
template <>
__device__ float2 to_floats<__nv_bfloat16>(std::uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u)};
}
template <>
__device__ float2 to_floats<__half>(std::uint32_t pair) {
  return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}

template <typename T>
__device__ float dot(const uint4& a, const uint4& b) {
  float sum = 0;
  const auto add = [&sum](std::uint32_t x, std::uint32_t y) {
    const float2 left = to_floats<T>(x), right = to_floats<T>(y);
    sum = fmaf(left.x, right.x, sum);
    sum = fmaf(left.y, right.y, sum);
  };
  add(a.x, b.x);
  add(a.y, b.y);
  add(a.z, b.z);
  add(a.w, b.w);
  return sum;
}

// kHeadDim / 8 threads a row; a head's thread blocks one after the other. Reads nothing of what the kernel before it writes.
template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kThreads)
    row_stats_kernel(const StatsArguments a, const RowStats stats) {
  constexpr int kThreadsOfRow = kHeadDim / 8;
  constexpr int kStep = kThreads / kThreadsOfRow;
  hopper::let_dependents_start();
  const int blocks_of_head =
      (stats.padded_q_len + kStep * kRowsInFlight - 1) / (kStep * kRowsInFlight);
  const std::int64_t id = blockIdx.x / blocks_of_head;
  const std::int64_t batch = id / a.num_q_heads, head = id % a.num_q_heads;
  const int part = threadIdx.x % kThreadsOfRow;
  const int first =
      blockIdx.x % blocks_of_head * kStep * kRowsInFlight + threadIdx.x / kThreadsOfRow;
  const T* const out = static_cast<const T*>(a.out) + batch * a.out_strides.batch +
                       head * a.out_strides.head + part * 8;
  const T* const grad = static_cast<const T*>(a.grad_out) + batch * a.grad_out_strides.batch +
                        head * a.grad_out_strides.head + part * 8;
  uint4 left[kRowsInFlight], right[kRowsInFlight];
#pragma unroll
  for (int i = 0; i < kRowsInFlight; ++i) {
    const std::int64_t row = first + i * kStep;
    left[i] = right[i] = {};
    if (row < a.q_len) {
      left[i] = __ldcs(reinterpret_cast<const uint4*>(out + row * a.out_strides.row));
      right[i] = *reinterpret_cast<const uint4*>(grad + row * a.grad_out_strides.row);
    }
  }
#pragma unroll
  for (int i = 0; i < kRowsInFlight; ++i) {
    const int row = first + i * kStep;
    float sum = dot<T>(left[i], right[i]);
#pragma unroll
    for (int step = 1; step < kThreadsOfRow; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (part != 0 || row >= stats.padded_q_len) continue;
    float minus_lse = -INFINITY, delta = 0;
    if (row < a.q_len) {
      const std::int64_t at = id * a.q_len + row;
      const float lse = a.lse[at];
      if (lse != -INFINITY) {
        constexpr float kLog2E = 1.44269504088896341f;
        minus_lse = -lse * kLog2E;
        delta = a.grad_lse == nullptr ? sum : sum - a.grad_lse[at];
      }
    }
    const std::int64_t to = id * stats.padded_q_len + row;
    stats.minus_lse[to] = minus_lse;
    stats.delta[to] = delta;
  }
  hopper::
      wait_for_predecessor();  // so that what follows this kernel also follows the one before it
}

template <typename T, int kHeadDim>
void launch(const StatsArguments& arguments, const RowStats& stats, int heads,
            CUstream_st* stream) {
  constexpr int kRows = kThreads / (kHeadDim / 8) * kRowsInFlight;
  hopper::launch_dependent("row_stats_kernel", &row_stats_kernel<T, kHeadDim>,
                           heads * ceil_div(stats.padded_q_len, kRows), kThreads, 0, stream,
                           arguments, stats);
}

}  // namespace

void make_row_stats(const AttentionBackwardParams& params, const RowStats& stats,
                    CUstream_st* stream) {
  const AttentionParams& forward = params.forward;
  const StatsArguments arguments = {.out = forward.out,
                                    .grad_out = params.grad_out,
                                    .out_strides = forward.out_strides,
                                    .grad_out_strides = params.grad_out_strides,
                                    .lse = forward.lse,
                                    .grad_lse = params.grad_lse,
                                    .num_q_heads = static_cast<int>(forward.num_q_heads),
                                    .q_len = static_cast<int>(forward.q_len)};
  const int heads = static_cast<int>(forward.batch * forward.num_q_heads);
  const bool is_half = forward.element == Element::kFloat16;
  if (forward.head_dim == 64) {
    is_half ? launch<__half, 64>(arguments, stats, heads, stream)
            : launch<__nv_bfloat16, 64>(arguments, stats, heads, stream);
  } else {
    is_half ? launch<__half, 128>(arguments, stats, heads, stream)
            : launch<__nv_bfloat16, 128>(arguments, stats, heads, stream);
  }
}

}  // namespace seer::sm90
