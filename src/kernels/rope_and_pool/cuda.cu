// Bound by memory: what RoPE reads is pooled on the way, so that pooling costs its output alone.
#include "kernels/rope_and_pool/cuda.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/device/vector.cuh"
#include "kernels/pool_blocks/pooled_vector.cuh"

namespace seer {
namespace {

// The warps of a thread block have neighbouring heads of the same rows, and read the same angles.
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kRowsInFlight = 2;  // of each thread; more do not fit the registers

// A tile is up to 32 vectors of each half of the columns of one block of one head, and one warp's.
struct Tiles {
  std::int64_t count;     // of [blocks, column tiles, heads]
  unsigned column_tiles;  // of `lanes` vectors
  int lanes;              // a power of two: threads side by side on a row's columns
};

template <int kCount>
__device__ __forceinline__ void load_angles(const float* from, float (&angles)[kCount]) {
  constexpr int kAtOnce = kCount > 4 ? 4 : kCount;  // 16 bytes
  using Angles = Vector<float, kAtOnce>;
#pragma unroll
  for (int k = 0; k < kCount; k += kAtOnce)
    *reinterpret_cast<Angles*>(angles + k) = Angles::load(from + k);
}

template <typename T, int kCount, bool kHasExtremes>
__global__ void __launch_bounds__(kThreads, 2)
    rope_and_pool_kernel(const RopeAndPoolParams params, const Tiles tiles) {
  using Packed = PackedVector<T, kCount>;
  const RopeParams& rope = params.rope;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (tile >= tiles.count) return;
  const auto head = static_cast<std::int64_t>(tile % rope.heads);
  const std::int64_t rest = tile / rope.heads;
  const std::int64_t block = rest / tiles.column_tiles;

  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row_in_step = lane / tiles.lanes;
  const int rows_per_step = 32 / tiles.lanes;
  const int half = static_cast<int>(rope.head_dim / 2);
  const int column =
      (static_cast<int>(rest % tiles.column_tiles) * tiles.lanes + lane % tiles.lanes) * kCount;
  const bool has_column = column < half;
  const std::int64_t first_row = block * params.block_size;
  const int rows = static_cast<int>(min(params.block_size, rope.rows - first_row));
  // Not through the read-only cache: `out` may be `x`.
  const T* x = static_cast<const T*>(rope.x) + head * rope.x_head_stride +
               first_row * rope.x_row_stride + column;
  T* out = static_cast<T*>(rope.out) + head * rope.out_head_stride +
           first_row * rope.out_row_stride + column;
  const float* cos_row = rope.cos + first_row * half + column;
  const float* sin_row = rope.sin + first_row * half + column;

  PooledVector<T, kCount, kHasExtremes> pooled_first, pooled_second;
  const auto turn = [&](int row, const Packed& first, const Packed& second) {
    float cos[kCount], sin[kCount], a[kCount], b[kCount], turned[kCount];
    load_angles(cos_row + row * half, cos);
    load_angles(sin_row + row * half, sin);
    first.to_floats(a);
    second.to_floats(b);
    pooled_first.add(first, a);
    pooled_second.add(second, b);
#pragma unroll
    for (int i = 0; i < kCount; ++i) turned[i] = a[i] * cos[i] - b[i] * sin[i];
    Packed::from_floats(turned).store(out + row * rope.out_row_stride);
#pragma unroll
    for (int i = 0; i < kCount; ++i) turned[i] = b[i] * cos[i] + a[i] * sin[i];
    Packed::from_floats(turned).store(out + row * rope.out_row_stride + half);
  };
  if (has_column) {
    int row = row_in_step;
    for (; row + (kRowsInFlight - 1) * rows_per_step < rows; row += kRowsInFlight * rows_per_step) {
      Packed first[kRowsInFlight], second[kRowsInFlight];
#pragma unroll
      for (int k = 0; k < kRowsInFlight; ++k) {
        const T* at = x + (row + k * rows_per_step) * rope.x_row_stride;
        first[k] = Packed::load(at);
        second[k] = Packed::load(at + half);
      }
#pragma unroll
      for (int k = 0; k < kRowsInFlight; ++k) turn(row + k * rows_per_step, first[k], second[k]);
    }
    for (; row < rows; row += rows_per_step) {
      const T* at = x + row * rope.x_row_stride;
      turn(row, Packed::load(at), Packed::load(at + half));
    }
  }
  pooled_first.add_lanes(tiles.lanes);
  pooled_second.add_lanes(tiles.lanes);
  if (row_in_step != 0 || !has_column) return;
  const PooledKinds kinds{params.max, params.min, params.avg};
  const std::int64_t blocks = (rope.rows + params.block_size - 1) / params.block_size;
  T* pooled = static_cast<T*>(params.pooled) +
              (head * blocks + block) * kinds.count() * rope.head_dim + column;
  pooled_first.store(kinds, rows, rope.head_dim, pooled);
  pooled_second.store(kinds, rows, rope.head_dim, pooled + half);
}

template <typename T, int kCount>
void rope_and_pool(const RopeAndPoolParams& params, CUstream_st* stream) {
  const auto vectors = static_cast<unsigned>(ceil_div(params.rope.head_dim / 2, std::int64_t{kCount}));
  Tiles tiles;
  tiles.lanes = static_cast<int>(std::bit_ceil(std::min(vectors, 32u)));
  tiles.column_tiles = ceil_div(vectors, static_cast<unsigned>(tiles.lanes));
  tiles.count =
      ceil_div(params.rope.rows, params.block_size) * tiles.column_tiles * params.rope.heads;
  const auto kernel = params.max || params.min ? &rope_and_pool_kernel<T, kCount, true>
                                               : &rope_and_pool_kernel<T, kCount, false>;
  kernel<<<static_cast<unsigned>(ceil_div(tiles.count, std::int64_t{kWarps})), kThreads, 0, stream>>>(
      params, tiles);
  check_launch("rope_and_pool_kernel");
}

}  // namespace

void rope_and_pool_cuda(const RopeAndPoolParams& params, CUstream_st* stream) {
  const RopeParams& rope = params.rope;
  if (rope.rows * rope.heads * rope.head_dim == 0) return;
  const std::int64_t half = rope.head_dim / 2;
  dispatch_element(rope.element, "rope_and_pool", [&]<typename T>() {
    const bool aligned =
        is_16_byte_aligned<T>(rope.x, rope.x_row_stride, rope.x_head_stride, half) &&
        is_16_byte_aligned<T>(rope.out, rope.out_row_stride, rope.out_head_stride) &&
        is_16_byte_aligned<T>(params.pooled) && is_16_byte_aligned<float>(rope.cos) &&
        is_16_byte_aligned<float>(rope.sin);
    aligned ? rope_and_pool<T, kElementsOf16Bytes<T>>(params, stream)
            : rope_and_pool<T, 1>(params, stream);
  });
}

}  // namespace seer
