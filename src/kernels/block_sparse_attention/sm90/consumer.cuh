// A consumer: one warpgroup, 64 query rows.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/block_sparse_attention/sm90/block_map.cuh"
#include "kernels/block_sparse_attention/sm90/online_softmax.cuh"
#include "kernels/block_sparse_attention/sm90/shared_storage.cuh"
#include "kernels/hopper/wgmma.cuh"

namespace seer::sm90 {

template <typename T>
__device__ __forceinline__ std::uint32_t pack(float low, float high);
template <>
__device__ __forceinline__ std::uint32_t pack<__nv_bfloat16>(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
template <>
__device__ __forceinline__ std::uint32_t pack<__half>(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <hopper::TwoByteFloat T, int kBlock, int kHeadDim, bool kWantsMap>
struct Consumer {
  using P = Plan<kBlock, kHeadDim>;
  using Shared = SharedStorage<kBlock, kHeadDim>;
  static constexpr int kScores = kBlock / 2;        // a thread's share of 64 x kBlock
  static constexpr int kOutputs = kHeadDim / 2;     // of 64 x kHeadDim
  static constexpr int kGroupBytes = kBlock * 128;  // of 64 columns of a tile

  // Where there is room, the queries are held in registers: the tensor cores then read less shared memory, and the next
  // query block's queries can be fetched early.
  static constexpr bool kQueriesInRegisters = kBlock == 128;

  const Arguments& arguments;
  Shared& shared;
  const int group;
  const int rows_from;  // the warpgroup's first row in the query block
  const int thread;     // in the warpgroup
  hopper::RingPosition<P::kSlots> ring = {};
  std::uint32_t tile_parity = 0;
  // The queries as wgmma takes its left operand, where they are held in registers.
  std::uint32_t q[kQueriesInRegisters ? kHeadDim / 16 : 1][4];

  __device__ __forceinline__ int lane() const { return thread % 32; }
  // Of the thread's first row, in the query block.
  __device__ __forceinline__ int first_row() const {
    return rows_from + thread / 32 * 16 + lane() / 4;
  }

  __device__ __forceinline__ void run() {
    if constexpr (P::kWarpgroupsInGroup == 2) {
      if (number() == 1) arrive_turn(0);  // the first warpgroup begins
    }
    auto& s = shared.group[group];
    for (;;) {
      s.tile_full.wait(tile_parity);
      tile_parity ^= 1;
      const TileMessage message = read(s.message);
      if (message.num_blocks < 0) break;
      if (kQueriesInRegisters && message.num_blocks > 0) load_queries();
      if (kQueriesInRegisters || message.num_blocks == 0) release_queries();
      attend(message.tile, message.num_blocks);
    }
  }

 private:
  // --- Turns of the two warpgroups of a group at the tensor cores ------------------------------
  // While one's products run, the other does its softmax.
  __device__ __forceinline__ int number() const { return rows_from / 64; }
  __device__ __forceinline__ void arrive_turn(int warpgroup) {
    if constexpr (P::kWarpgroupsInGroup == 2) hopper::arrive_named(1 + warpgroup, 256);
  }
  __device__ __forceinline__ void wait_turn() {
    if constexpr (P::kWarpgroupsInGroup == 2) hopper::sync_named(1 + number(), 256);
  }

  // --- The ring --------------------------------------------------------------------------------
  __device__ __forceinline__ void wait_full(const hopper::RingPosition<P::kSlots>& at) {
    shared.group[group].full[at.slot].wait(at.parity);
  }
  // Which key block a slot's keys are. The lane that reads is the one that releases the slot: no other lane's read needs to
  // be ordered before the producer's next write.
  __device__ __forceinline__ int key_block(const hopper::RingPosition<P::kSlots>& at) {
    int block = 0;
    if (lane() == 0) block = shared.group[group].key_block[at.slot];
    return __shfl_sync(~0u, block, 0);
  }
  __device__ __forceinline__ TileMessage read(const TileMessage& from) {
    TileMessage message = {};
    if (lane() == 0) message = from;
    return {{__shfl_sync(~0u, message.tile.batch, 0), __shfl_sync(~0u, message.tile.head, 0),
             __shfl_sync(~0u, message.tile.q_block, 0)},
            __shfl_sync(~0u, message.num_blocks, 0)};
  }
  // Each warp arrives once.
  __device__ __forceinline__ void release(const hopper::RingPosition<P::kSlots>& at) {
    if (lane() == 0) shared.group[group].empty[at.slot].arrive();
  }
  __device__ __forceinline__ std::uint32_t address_of(int slot) const {
    return hopper::shared_address(&shared.slot[group][slot]);
  }
  __device__ __forceinline__ std::uint32_t query_address() const {
    return hopper::shared_address(&shared.queries[group]) + rows_from * 128;
  }
  __device__ __forceinline__ void load_queries() {
    const int row = thread / 32 * 16 + lane() % 16;
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      const int piece = step % 4 * 2 + lane() / 16;  // of 16 bytes, in a row of 128
      hopper::load_matrices(
          q[step], query_address() + step / 4 * kGroupBytes + row * 128 + (piece ^ row % 8) * 16);
    }
  }
  // The queries have been read, by all lanes.
  __device__ __forceinline__ void release_queries() {
    __syncwarp();
    if (lane() == 0) shared.group[group].tile_empty.arrive();
  }

  // --- Products --------------------------------------------------------------------------------
  // scores[64, kBlock] = Q K^T
  __device__ __forceinline__ void start_scores(float (&scores)[kScores], int slot) {
    const std::uint32_t k = address_of(slot);
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      const std::uint32_t offset = step / 4 * kGroupBytes + step % 4 * 32;
      const std::uint64_t keys = hopper::matrix_descriptor(k + offset, 0);
      if constexpr (kQueriesInRegisters) {
        hopper::Product<T, kBlock>::template rs<false>(scores, q[step][0], q[step][1], q[step][2],
                                                       q[step][3], keys, step > 0);
      } else {
        hopper::Product<T, kBlock>::ss(
            scores, hopper::matrix_descriptor(query_address() + offset, 0), keys, step > 0);
      }
    }
    hopper::wgmma_commit();
  }
  // output[64, kHeadDim] += P V
  __device__ __forceinline__ void start_output(float (&output)[kOutputs],
                                               const std::uint32_t (&p)[kScores / 2], int slot,
                                               bool accumulate) {
    const std::uint32_t v = address_of(slot);
#pragma unroll
    for (int step = 0; step < kBlock / 16; ++step) {
      hopper::Product<T, kHeadDim>::template rs<true>(
          output, p[4 * step], p[4 * step + 1], p[4 * step + 2], p[4 * step + 3],
          hopper::matrix_descriptor(v + step * 2048, kGroupBytes), step > 0 || accumulate);
    }
    hopper::wgmma_commit();
  }

  // --- Softmax ---------------------------------------------------------------------------------
  // Hides keys past the end and, where causal, after the query.
  __device__ __forceinline__ void hide(float (&scores)[kScores], const Tile& tile, int block) {
    const int first_key = block * kBlock;
    const int first_query = tile.q_block * kBlock + rows_from;
    if (first_key + kBlock <= arguments.kv_len &&
        first_key + kBlock - 1 <= first_query + arguments.causal_shift) {
      return;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile.q_block * kBlock + first_row() + 8 * i;
      const int keys = min(row + arguments.causal_shift + 1, arguments.kv_len) - first_key;
#pragma unroll
      for (int j = 0; j < kScores / 4; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if (8 * j + lane() % 4 * 2 + c >= keys) scores[4 * j + 2 * i + c] = -INFINITY;
        }
      }
    }
  }

  // Scores become probabilities times 2^(row's log-sum - reference). Returns whether, and sets by what, earlier sums must
  // be multiplied.
  __device__ __forceinline__ bool exponentiate(float (&scores)[kScores], RowState& rows,
                                               float (&factor)[2], BlockMapRows<kWantsMap>& map,
                                               int block) {
    float halves
        [2][2];  // the thread's largest of each row, in the first and the last kBlock / 2 columns
    float largest[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      halves[i][0] = halves[i][1] = -INFINITY;
#pragma unroll
      for (int j = 0; j < kScores / 4; ++j) {
        float& half = halves[i][j / (kScores / 8)];
        half = fmaxf(half, fmaxf(scores[4 * j + 2 * i], scores[4 * j + 2 * i + 1]));
      }
      largest[i] = fmaxf(halves[i][0], halves[i][1]) * arguments.scale_log2;
    }
    const bool rescales = rows.update(largest, factor);
    if constexpr (kWantsMap) {
      map.store(arguments, rows, block == 0, halves, number() * 4 + thread / 32, lane());
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float reference = rows.subtrahend(i);
#pragma unroll
      for (int j = 0; j < kScores / 4; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& score = scores[4 * j + 2 * i + c];
          score = exp2_approx(fmaf(score, arguments.scale_log2, -reference));
          rows.sum[i] += score;
        }
      }
    }
    return rescales;
  }

  __device__ __forceinline__ void round(std::uint32_t (&p)[kScores / 2],
                                        const float (&scores)[kScores]) {
#pragma unroll
    for (int i = 0; i < kScores / 2; ++i) p[i] = pack<T>(scores[2 * i], scores[2 * i + 1]);
  }

  // --- A query block ---------------------------------------------------------------------------
  __device__ __forceinline__ void attend(const Tile& tile, int num_blocks) {
    float output[kOutputs];
    RowState rows;
    BlockMapRows<kWantsMap> map;
    if (num_blocks == 0) {
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) output[i] = 0;
    } else {
      accumulate(output, rows, map, tile, num_blocks);
    }
    finish(output, rows, map, tile, num_blocks);
  }

  __device__ __forceinline__ void accumulate(float (&output)[kOutputs], RowState& rows,
                                             BlockMapRows<kWantsMap>& map, const Tile& tile,
                                             int num_blocks) {
    float scores[kScores];
    std::uint32_t p[kScores / 2];
    float factor[2];

    wait_full(ring);
    int block = key_block(ring);
    wait_turn();
    hopper::wgmma_fence();
    start_scores(scores, ring.slot);
    arrive_turn(1 - number());
    hopper::wgmma_wait<0>();
    hopper::pin(scores);
    release(ring);
    if (!kQueriesInRegisters && num_blocks == 1) release_queries();
    ring.advance();
    hide(scores, tile, block);
    exponentiate(scores, rows, factor, map, block);
    round(p, scores);

    for (int i = 1; i < num_blocks; ++i) {
      const auto keys = ring;
      ring.advance();
      const auto values = ring;
      ring.advance();
      wait_full(keys);
      block = key_block(keys);
      wait_turn();
      hopper::pin(output);
      hopper::pin(p);
      hopper::wgmma_fence();
      start_scores(scores, keys.slot);
      wait_full(values);
      start_output(output, p, values.slot, i > 1);
      arrive_turn(1 - number());
      hopper::wgmma_wait<1>();
      hopper::pin(scores);
      release(keys);
      if (!kQueriesInRegisters && i + 1 == num_blocks) release_queries();
      hide(scores, tile, block);
      const bool rescales = exponentiate(scores, rows, factor, map, block);
      hopper::wgmma_wait<0>();
      hopper::pin(output);
      hopper::pin(p);
      release(values);
      if (rescales) {
#pragma unroll
        for (int n = 0; n < kOutputs; ++n) output[n] *= factor[n / 2 % 2];
      }
      round(p, scores);
    }

    wait_full(ring);
    hopper::pin(output);
    hopper::pin(p);
    hopper::wgmma_fence();
    start_output(output, p, ring.slot, num_blocks > 1);
    hopper::wgmma_wait<0>();
    hopper::pin(output);
    release(ring);
    ring.advance();
  }

  __device__ __forceinline__ void finish(float (&output)[kOutputs], RowState& rows,
                                         BlockMapRows<kWantsMap>& map, const Tile& tile,
                                         int num_blocks) {
    float log2_sum[2], inverse[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float sum = quad_sum(rows.sum[i]);
      inverse[i] = sum == 0 ? 0 : 1 / sum;
      log2_sum[i] = sum == 0 ? -INFINITY : rows.reference[i] + log2f(sum);
    }
    const std::int64_t head =
        static_cast<std::int64_t>(tile.batch) * arguments.num_q_heads + tile.head;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = tile.q_block * kBlock + first_row() + 8 * i;
      constexpr float kLn2 = 0.693147180559945309f;
      if (lane() % 4 == 0 && row < arguments.q_len) {
        arguments.lse[head * arguments.q_len + row] = log2_sum[i] * kLn2;
      }
      store_row(output, inverse[i], i, tile, row);
    }
    if constexpr (kWantsMap) {
      map.finish(arguments, shared.row_offset, log2_sum, tile, num_blocks, rows_from, thread);
    }
  }

  // The four threads of a row trade pieces, so that each stores 16 bytes at a time.
  __device__ __forceinline__ void store_row(const float (&output)[kOutputs], float inverse, int i,
                                            const Tile& tile, int row) {
    T* const to = static_cast<T*>(arguments.out) + tile.batch * arguments.out_batch_stride +
                  tile.head * arguments.out_head_stride + row * arguments.out_row_stride;
    const int own = lane() % 4;
#pragma unroll
    for (int columns = 0; columns < kHeadDim / 8; columns += 4) {
      std::uint32_t piece[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = 4 * (columns + k) + 2 * i;
        piece[k] = pack<T>(output[at] * inverse, output[at + 1] * inverse);
      }
      transpose_quad(piece, own);
      if (row < arguments.q_len) {
        *reinterpret_cast<uint4*>(to + (columns + own) * 8) =
            make_uint4(piece[0], piece[1], piece[2], piece[3]);
      }
    }
  }

  // piece[k] of thread t becomes piece[t] of thread k.
  static __device__ __forceinline__ void transpose_quad(std::uint32_t (&piece)[4], int own) {
    const bool odd = own & 1, high = own & 2;
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const std::uint32_t given = odd ? piece[k] : piece[k + 1];
      const std::uint32_t got = __shfl_xor_sync(~0u, given, 1);
      (odd ? piece[k] : piece[k + 1]) = got;
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const std::uint32_t given = high ? piece[k] : piece[k + 2];
      const std::uint32_t got = __shfl_xor_sync(~0u, given, 2);
      (high ? piece[k] : piece[k + 2]) = got;
    }
  }
};

}  // namespace seer::sm90
