// The block map of dense attention: the largest probability in each pair of a query block and a key block.
//
// While a tile of 128 queries walks its keys, each row's maximum over each key block is kept, as its distance from a base
// of the row. When the row's sum is known, the largest of a block's rows is one exponential. What is kept is as large as
// the tiles at work and not as the map: [key blocks][128 rows] of float16 for each thread block. The base is the row's
// maximum over its first keys, so that the probabilities that matter are small numbers, which float16 holds with an error
// below 0.3 % of the probability (0.6 % where the exponent is 16 or more below or above the base).
#pragma once

#include <cuda_fp16.h>

#include "kernels/block_sparse_attention/sm90/arguments.cuh"
#include "kernels/block_sparse_attention/sm90/online_softmax.cuh"
#include "kernels/hopper/mbarrier.cuh"

namespace seer::sm90 {

template <bool kWanted>
struct BlockMapRows {};

template <>
struct BlockMapRows<true> {
  static constexpr int kTileRows = 128, kTileKeys = 128;
  static constexpr int kBarrier = 3;  // named; for both warpgroups

  float latest[2][2];  // row maxima of the latest tile: [row][its first or last 64 keys], base 2
  float base[2];

  // Keeps `latest`, of the key tile `block`. `warp_row` is the warp's first row in the tile.
  __device__ __forceinline__ void store(const Arguments& a, const RowState& rows, int block,
                                        int warp_row, int lane) {
    if (block == 0) {
      base[0] = rows.subtrahend(0);
      base[1] = rows.subtrahend(1);
    }
    if (lane % 4 != 0) return;
    std::uint16_t* const kept = row_maxima(a);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = warp_row + lane / 4 + 8 * i;
      if (a.map_block == 64) {
        put(kept, 2 * block, row, latest[i][0] - base[i]);
        put(kept, 2 * block + 1, row, latest[i][1] - base[i]);
      } else {
        put(kept, block, row, fmaxf(latest[i][0], latest[i][1]) - base[i]);
      }
    }
  }

  // Writes the map's rows of this tile. `log2_sum`: of the thread's two rows, base 2, -inf where nothing is seen.
  __device__ __forceinline__ void finish(const Arguments& a, float (&row_offset)[kTileRows],
                                         const float (&log2_sum)[2], const Tile& tile,
                                         int num_blocks, int rows_from, int thread) {
    const int lane = thread % 32;
    const int first = rows_from + thread / 32 * 16 + lane / 4;
    if (lane % 4 == 0) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = first + 8 * i;
        const bool counts = tile.q_block * kTileRows + row < a.q_len && log2_sum[i] != -INFINITY;
        row_offset[row] = counts ? base[i] - log2_sum[i] : -INFINITY;
      }
    }
    hopper::sync_named(kBarrier, 256);
    const std::int64_t head = static_cast<std::int64_t>(tile.batch) * a.num_q_heads + tile.head;
    const int seen = num_blocks * kTileKeys / a.map_block;
    if (a.map_block == 64) {
      const int q_block = 2 * tile.q_block + rows_from / 64;
      if (q_block < a.map_q_blocks) {
        float* const to = a.block_map + (head * a.map_q_blocks + q_block) * a.map_kv_blocks;
        for (int j = thread; j < a.map_kv_blocks; j += 128) {
          to[j] = j < seen ? largest<64>(row_maxima(a) + j * kTileRows + rows_from,
                                         row_offset + rows_from)
                           : 0;
        }
      }
    } else {
      float* const to = a.block_map + (head * a.map_q_blocks + tile.q_block) * a.map_kv_blocks;
      for (int j = rows_from * 2 + thread; j < a.map_kv_blocks; j += 256) {
        to[j] = j < seen ? largest<128>(row_maxima(a) + j * kTileRows, row_offset) : 0;
      }
    }
    hopper::sync_named(kBarrier, 256);  // before the next tile overwrites what was read
  }

 private:
  static __device__ __forceinline__ std::uint16_t* row_maxima(const Arguments& a) {
    const std::int64_t blocks = (a.map_kv_blocks + 1) / 2 * 2;
    return a.row_maxima + blockIdx.x * blocks * kTileRows;
  }
  static __device__ __forceinline__ void put(std::uint16_t* kept, int column, int row, float x) {
    constexpr float kLargest = 65504;
    __stcg(reinterpret_cast<unsigned short*>(kept + column * kTileRows + row),
           __half_as_ushort(__float2half_rn(x > kLargest ? kLargest : x)));
  }

  template <int kRows>
  static __device__ __forceinline__ float largest(const std::uint16_t* column,
                                                  const float* row_offset) {
    float exponent = -INFINITY;
#pragma unroll
    for (int row = 0; row < kRows; row += 8) {
      const uint4 eight = __ldcg(reinterpret_cast<const uint4*>(column + row));
      const unsigned pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float2 two = __half22float2(reinterpret_cast<const __half2&>(pairs[k]));
        exponent = fmaxf(
            exponent, fmaxf(two.x + row_offset[row + 2 * k], two.y + row_offset[row + 2 * k + 1]));
      }
    }
    return exp2_approx(exponent);
  }
};

}  // namespace seer::sm90
