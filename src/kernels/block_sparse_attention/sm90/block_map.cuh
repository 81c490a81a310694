// The block map of dense attention: the largest probability in each pair of a query block and a key block.
//
// While a tile of 128 queries walks its keys, each row's maximum over each 64 keys is kept, as its distance from a base of
// the row. When the row's sum is known, the largest of a block's rows is one exponential. What is kept is as large as the
// tiles at work and not as the map: [key tiles][8 warps][8 row pairs][2 rows][2 halves] of float16 for each thread block.
// The base is the row's maximum over its first keys, so that the probabilities that matter are small numbers, which
// float16 holds with an error below 0.3 % of the probability (0.6 % where the exponent is 16 or more from the base).
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

  float base[2];
  std::uint16_t* next;  // where the thread's share of the next tile goes

  // Keeps the row maxima of the next key tile. `largest`: the thread's raw scores, [its rows][first or last 64 keys].
  __device__ __forceinline__ void store(const Arguments& a, const RowState& rows, bool is_first,
                                        const float (&largest)[2][2], int warp, int lane) {
    if (is_first) {
      base[0] = rows.subtrahend(0);
      base[1] = rows.subtrahend(1);
      next = row_maxima(a) + (warp * 8 + lane / 4) * 4 + lane % 2 * 2;
    }
    // The four threads of two rows: the even ones end with the first row's maxima, the odd ones with the second's.
    const std::uint32_t first = distances(a, largest[0], base[0]);
    const std::uint32_t second = distances(a, largest[1], base[1]);
    const bool is_odd = lane % 2 != 0;
    std::uint32_t own = is_odd ? second : first;
    own = max_halves(own, __shfl_xor_sync(~0u, is_odd ? first : second, 1));
    own = max_halves(own, __shfl_xor_sync(~0u, own, 2));
    if (lane % 4 < 2) __stcg(reinterpret_cast<unsigned*>(next), own);
    next += kTileEntries;
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
    const int tiles = (a.map_kv_blocks * a.map_block + kTileKeys - 1) / kTileKeys;
    if (a.map_block == 64) {
      const int q_block = 2 * tile.q_block + rows_from / 64;
      if (q_block < a.map_q_blocks) {
        float* const to = a.block_map + (head * a.map_q_blocks + q_block) * a.map_kv_blocks;
        for (int t = thread; t < tiles; t += 128) {
          const float2 both = largest<64>(a, t, rows_from, row_offset, t < num_blocks);
          to[2 * t] = both.x;
          if (2 * t + 1 < a.map_kv_blocks) to[2 * t + 1] = both.y;
        }
      }
    } else {
      float* const to = a.block_map + (head * a.map_q_blocks + tile.q_block) * a.map_kv_blocks;
      for (int t = rows_from * 2 + thread; t < tiles; t += 256) {
        const float2 both = largest<128>(a, t, 0, row_offset, t < num_blocks);
        to[t] = fmaxf(both.x, both.y);
      }
    }
    hopper::sync_named(kBarrier, 256);  // before the next tile overwrites what was read
  }

 private:
  static constexpr int kTileEntries = kTileRows * 2;

  static __device__ __forceinline__ std::uint16_t* row_maxima(const Arguments& a) {
    return a.row_maxima + static_cast<std::int64_t>(blockIdx.x) * a.row_maxima_tiles * kTileEntries;
  }
  // Two float16 numbers; the first in the low half.
  static __device__ __forceinline__ std::uint32_t distances(const Arguments& a,
                                                            const float (&largest)[2], float base) {
    std::uint32_t both;
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;"
        : "=r"(both)
        : "f"(fmaf(largest[1], a.scale_log2, -base)), "f"(fmaf(largest[0], a.scale_log2, -base)));
    return both;
  }

  static __device__ __forceinline__ std::uint32_t max_halves(std::uint32_t x, std::uint32_t y) {
    asm("max.f16x2 %0, %0, %1;" : "+r"(x) : "r"(y));
    return x;
  }

  // Of kRows rows from `rows_from` and either half of the key tile; 0 where it was not computed.
  template <int kRows>
  static __device__ __forceinline__ float2 largest(const Arguments& a, int key_tile, int rows_from,
                                                   const float* row_offset, bool is_computed) {
    if (!is_computed) return make_float2(0, 0);
    const std::uint16_t* const from = row_maxima(a) + key_tile * kTileEntries + rows_from * 2;
    float exponent[2] = {-INFINITY, -INFINITY};
#pragma unroll 8
    for (int pair = 0; pair < kRows / 2; pair += 2) {  // pairs of rows, 8 apart
      const uint4 four = __ldcg(reinterpret_cast<const uint4*>(from + pair * 4));
      const unsigned halves[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = pair + k / 2;
        const int row = rows_from + at / 8 * 16 + at % 8 + k % 2 * 8;
        const float2 two = __half22float2(reinterpret_cast<const __half2&>(halves[k]));
        exponent[0] = fmaxf(exponent[0], two.x + row_offset[row]);
        exponent[1] = fmaxf(exponent[1], two.y + row_offset[row]);
      }
    }
    return make_float2(exp2_approx(exponent[0]), exp2_approx(exponent[1]));
  }
};

}  // namespace seer::sm90
