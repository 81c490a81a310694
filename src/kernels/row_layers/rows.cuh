// What the kernels of row layers share: how rows are cut into launches, and sums along a row.
#pragma once

#include <algorithm>
#include <cstdint>

namespace seer {

inline constexpr int kRowThreads = 256;  // of a block

// Threads of one launch: indices fit 32 bits, whose division is cheap. Longer work is cut by rows.
inline constexpr std::int64_t kMaxThreadsOfLaunch = std::int64_t{1} << 31;

// Calls launch(params of some rows) until all rows are done. `advance` moves the parameters on by a number of rows.
template <typename Params, typename Advance, typename Launch>
void for_row_ranges(Params params, std::int64_t threads_per_row, const Advance& advance,
                    const Launch& launch) {
  const std::int64_t limit =
      std::max<std::int64_t>(1, kMaxThreadsOfLaunch / std::max<std::int64_t>(1, threads_per_row));
  for (std::int64_t left = params.rows; left > 0; left -= limit) {
    params.rows = std::min(left, limit);
    launch(params);
    advance(params, params.rows);
  }
}

template <typename T>
const T* moved(const void* pointer, std::int64_t elements) {
  return static_cast<const T*>(pointer) + elements;
}
template <typename T>
T* moved(void* pointer, std::int64_t elements) {
  return static_cast<T*>(pointer) + elements;
}

// The sum over the kLanes neighbouring threads that share a row, in each of them; always added in the same order. Where
// kLanes is more than a warp, all threads of the block synchronise in it, and must do so once more before another call.
template <int kLanes>
__device__ float sum_over_row(float value) {
  constexpr int kWarp = 32;
  for (int step = (kLanes < kWarp ? kLanes : kWarp) / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, step);
  }
  if constexpr (kLanes > kWarp) {
    constexpr int kWarpsOfRow = kLanes / kWarp;
    __shared__ float of_warp[kRowThreads / kWarp];
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    if (threadIdx.x % kWarp == 0) of_warp[warp] = value;
    __syncthreads();
    const int first = warp / kWarpsOfRow * kWarpsOfRow;
    value = 0.0f;
    for (int i = 0; i < kWarpsOfRow; ++i) value += of_warp[first + i];
  }
  return value;
}

}  // namespace seer
