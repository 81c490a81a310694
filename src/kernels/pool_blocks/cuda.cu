// Bound by memory: each element is read once, 16 bytes at a time.
#include "kernels/pool_blocks/cuda.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/device/vector.cuh"
#include "kernels/pool_blocks/pooled_vector.cuh"

namespace seer {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kLoadsInFlight = 8;  // of each thread

// How a launch's work is cut. A tile is up to 32 vectors of columns of one block of one head, and one warp's.
struct Tiles {
  std::int64_t
      count;  // of [batch, blocks, heads, column tiles] or [batch, heads, blocks, column tiles]
  unsigned blocks;          // in a sequence
  unsigned column_tiles;    // of `lanes` vectors
  int lanes;                // a power of two: threads side by side on a token's columns
  bool is_heads_innermost;  // where the heads of a token lie side by side
};

template <typename T, int kCount, bool kHasExtremes>
__global__ void __launch_bounds__(kThreads, 6)
    pool_blocks_kernel(const PoolBlocksParams params, const Tiles tiles) {
  using Packed = PackedVector<T, kCount>;
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (tile >= tiles.count) return;
  const auto heads = static_cast<unsigned>(params.heads);
  const auto column_tile = static_cast<unsigned>(tile % tiles.column_tiles);
  std::int64_t rest = tile / tiles.column_tiles;
  const unsigned inner =
      static_cast<unsigned>(rest % (tiles.is_heads_innermost ? heads : tiles.blocks));
  rest /= tiles.is_heads_innermost ? heads : tiles.blocks;
  const unsigned outer =
      static_cast<unsigned>(rest % (tiles.is_heads_innermost ? tiles.blocks : heads));
  const std::int64_t batch = rest / (tiles.is_heads_innermost ? tiles.blocks : heads);
  const unsigned head = tiles.is_heads_innermost ? inner : outer;
  const unsigned block = tiles.is_heads_innermost ? outer : inner;

  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row_in_step = lane / tiles.lanes;
  const int rows_per_step = 32 / tiles.lanes;
  const std::int64_t column =
      (static_cast<std::int64_t>(column_tile) * tiles.lanes + lane % tiles.lanes) * kCount;
  const bool has_column = column < params.head_dim;
  const std::int64_t first = block * params.block_size;
  const int tokens = static_cast<int>(min(params.block_size, params.length - first));
  const T* x = static_cast<const T*>(params.x) + batch * params.x_strides.batch +
               head * params.x_strides.head + first * params.x_strides.row + column;

  PooledVector<T, kCount, kHasExtremes> pooled;
  const auto add = [&pooled](const Packed& packed) {
    float values[kCount];
    packed.to_floats(values);
    pooled.add(packed, values);
  };
  if (has_column) {
    int token = row_in_step;
    for (; token + (kLoadsInFlight - 1) * rows_per_step < tokens;
         token += kLoadsInFlight * rows_per_step) {
      Packed loaded[kLoadsInFlight];
#pragma unroll
      for (int k = 0; k < kLoadsInFlight; ++k)
        loaded[k] = Packed::load(x + (token + k * rows_per_step) * params.x_strides.row);
#pragma unroll
      for (int k = 0; k < kLoadsInFlight; ++k) add(loaded[k]);
    }
    for (; token < tokens; token += rows_per_step)
      add(Packed::load(x + token * params.x_strides.row));
  }
  pooled.add_lanes(tiles.lanes);
  if (row_in_step != 0 || !has_column) return;
  const PooledKinds kinds{params.max, params.min, params.avg};
  T* out =
      static_cast<T*>(params.out) +
      ((batch * params.heads + head) * tiles.blocks + block) * kinds.count() * params.head_dim +
      column;
  pooled.store(kinds, tokens, params.head_dim, out);
}

template <typename T, int kCount>
void pool(const PoolBlocksParams& params, CUstream_st* stream) {
  const auto vectors = static_cast<unsigned>(ceil_div(params.head_dim, std::int64_t{kCount}));
  Tiles tiles;
  tiles.lanes = static_cast<int>(std::bit_ceil(std::min(vectors, 32u)));
  tiles.column_tiles = ceil_div(vectors, static_cast<unsigned>(tiles.lanes));
  tiles.blocks = static_cast<unsigned>(ceil_div(params.length, params.block_size));
  tiles.is_heads_innermost = params.x_strides.head < params.x_strides.row;
  tiles.count = params.batch * params.heads * tiles.blocks * tiles.column_tiles;
  const auto kernel = params.max || params.min ? &pool_blocks_kernel<T, kCount, true>
                                               : &pool_blocks_kernel<T, kCount, false>;
  kernel<<<static_cast<unsigned>(ceil_div(tiles.count, std::int64_t{kWarps})), kThreads, 0,
           stream>>>(params, tiles);
  check_launch("pool_blocks_kernel");
}

}  // namespace

void pool_blocks_cuda(const PoolBlocksParams& params, CUstream_st* stream) {
  if (params.batch * params.heads * params.length * params.head_dim == 0) return;
  dispatch_element(params.element, "pool_blocks", [&]<typename T>() {
    const Strides& strides = params.x_strides;
    const bool aligned = is_16_byte_aligned<T>(params.x, strides.batch, strides.head, strides.row,
                                               params.head_dim) &&
                         is_16_byte_aligned<T>(params.out);
    aligned ? pool<T, kElementsOf16Bytes<T>>(params, stream) : pool<T, 1>(params, stream);
  });
}

}  // namespace seer
