// Bound by memory: what RoPE reads is pooled on the way, so that pooling costs its output alone.
#include "kernels/rope_and_pool/cuda.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/device/vector.cuh"
#include "kernels/pool_blocks/pooled_vector.cuh"
#include "kernels/row_layers/turn_pair.cuh"

namespace seer {
namespace {

// The warps of a thread block have neighbouring heads of the same rows, and find their angles in the first-level cache.
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kSteps =
    2;  // rows of a thread that are loaded together, while those before are turned

// A warp has up to 32 vectors of each half of the columns, of one block of rows of a few heads.
struct Work {
  std::int64_t warps;     // of [blocks, column tiles, head groups]
  unsigned column_tiles;  // of `lanes` vectors
  unsigned head_groups;
  unsigned heads_of_group;
  int lanes;  // a power of two: threads side by side on a row's columns
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
    rope_and_pool_kernel(const RopeAndPoolParams params, const Work work) {
  using Packed = PackedVector<T, kCount>;
  const RopeParams& rope = params.rope;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (index >= work.warps) return;
  const auto head_group = static_cast<unsigned>(index % work.head_groups);
  const auto rest = static_cast<unsigned>(index / work.head_groups);
  const unsigned block = rest / work.column_tiles;

  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row_in_step = lane / work.lanes;
  const int rows_per_step = 32 / work.lanes;
  const int rows_at_once = kSteps * rows_per_step;
  const int half = static_cast<int>(rope.head_dim / 2);
  const int column =
      (static_cast<int>(rest % work.column_tiles) * work.lanes + lane % work.lanes) * kCount;
  const std::int64_t first_row = block * params.block_size;
  const int rows = static_cast<int>(min(params.block_size, rope.rows - first_row));
  // Lanes without a column have no row.
  const int own_rows = column < half ? rows : 0;
  const int first_head = static_cast<int>(head_group * work.heads_of_group);
  const int heads =
      min(static_cast<int>(work.heads_of_group), static_cast<int>(rope.heads) - first_head);

  // Not through the read-only cache: `out` may be `x`.
  const T* x_head = static_cast<const T*>(rope.x) + first_head * rope.x_head_stride +
                    first_row * rope.x_row_stride + column;
  T* out_head = static_cast<T*>(rope.out) + first_head * rope.out_head_stride +
                first_row * rope.out_row_stride + column;
  const float* cos_rows = rope.cos + first_row * half + column;
  const float* sin_rows = rope.sin + first_row * half + column;
  const PooledKinds kinds{params.max, params.min, params.avg};
  const std::int64_t blocks = (rope.rows + params.block_size - 1) / params.block_size;
  T* pooled = static_cast<T*>(params.pooled) +
              (first_head * blocks + block) * kinds.count() * rope.head_dim + column;

  struct Rows {
    Packed first[kSteps], second[kSteps];
  };
  const auto load = [&](const T* head, int begin, Rows& to) {
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      const int row = begin + k * rows_per_step + row_in_step;
      if (row >= own_rows) continue;
      to.first[k] = Packed::load(head + row * rope.x_row_stride);
      to.second[k] = Packed::load(head + row * rope.x_row_stride + half);
    }
  };
  Rows next;
  load(x_head, 0, next);
  for (int head = 0; head < heads; ++head) {
    PooledVector<T, kCount, kHasExtremes> pooled_first, pooled_second;
    for (int begin = 0; begin < rows; begin += rows_at_once) {
      const Rows now = next;
      if (begin + rows_at_once < rows) {
        load(x_head, begin + rows_at_once, next);
      } else if (head + 1 < heads) {
        load(x_head + rope.x_head_stride, 0, next);
      }
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        const int row = begin + k * rows_per_step + row_in_step;
        if (row >= own_rows) continue;
        float cos[kCount], sin[kCount], a[kCount], b[kCount];
        load_angles(cos_rows + row * half, cos);
        load_angles(sin_rows + row * half, sin);
        now.first[k].to_floats(a);
        now.second[k].to_floats(b);
        pooled_first.add(now.first[k], a);
        pooled_second.add(now.second[k], b);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          const TurnedPair turned = turn_pair(a[i], b[i], cos[i], sin[i]);
          a[i] = turned.first;
          b[i] = turned.second;
        }
        Packed::from_floats(a).store(out_head + row * rope.out_row_stride);
        Packed::from_floats(b).store(out_head + row * rope.out_row_stride + half);
      }
    }
    pooled_first.add_lanes(work.lanes);
    pooled_second.add_lanes(work.lanes);
    if (row_in_step == 0 && own_rows > 0) {
      pooled_first.store(kinds, rows, rope.head_dim, pooled);
      pooled_second.store(kinds, rows, rope.head_dim, pooled + half);
    }
    x_head += rope.x_head_stride;
    out_head += rope.out_head_stride;
    pooled += blocks * kinds.count() * rope.head_dim;
  }
}

template <typename T, int kCount>
void rope_and_pool(const RopeAndPoolParams& params, CUstream_st* stream) {
  const auto vectors =
      static_cast<unsigned>(ceil_div(params.rope.head_dim / 2, std::int64_t{kCount}));
  Work work;
  work.lanes = static_cast<int>(std::bit_ceil(std::min(vectors, 32u)));
  work.column_tiles = ceil_div(vectors, static_cast<unsigned>(work.lanes));
  const std::int64_t blocks = ceil_div(params.rope.rows, params.block_size) * work.column_tiles;
  // Several heads a warp keep its loads going, where there are enough warps all the same.
  constexpr std::int64_t kEnoughWarps = 4096, kMostHeads = 4;
  work.heads_of_group = static_cast<unsigned>(
      std::clamp<std::int64_t>(blocks * params.rope.heads / kEnoughWarps, 1, kMostHeads));
  work.head_groups = ceil_div(static_cast<unsigned>(params.rope.heads), work.heads_of_group);
  work.warps = blocks * work.head_groups;
  const auto kernel = params.max || params.min ? &rope_and_pool_kernel<T, kCount, true>
                                               : &rope_and_pool_kernel<T, kCount, false>;
  kernel<<<static_cast<unsigned>(ceil_div(work.warps, std::int64_t{kWarps})), kThreads, 0,
           stream>>>(params, work);
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
