// Scores of a tile of query blocks against all key blocks, and the choice from them.
//
// A thread block is one warpgroup and has a tile. The tile's query representatives stay in shared memory; key
// representatives come through a ring of slots, 64 key blocks a slot. A product has the keys as its rows and the query
// representatives as its columns, those of the same rank inside their blocks side by side:
//   column = rank * rows + row
// so that the representatives of one row are in the same thread, and the largest of their products needs no exchange.
// Logits go to memory once; the tile's rows are then read back, mostly from the second-level cache, and chosen from,
// while the other thread block of the multiprocessor multiplies.
//
// Keys come by the bulk copy engine and not by the threads' copies: those need a fence before each product, which also
// waits for the logits on their way to memory.
#pragma once

#include <cstdint>

#include "kernels/gate_scores/sm90/choice.cuh"
#include "kernels/gate_scores/sm90/plan.h"
#include "kernels/hopper/async_copy.cuh"
#include "kernels/hopper/tma.cuh"
#include "kernels/hopper/wgmma.cuh"
#include "kernels/hopper/wgmma_n256.cuh"

namespace seer::sm90 {

constexpr int kScoresThreads = 128;
constexpr int kKeyBlocks = 64;  // of a slot
constexpr int kScoresSlots = 3;

template <int kRows, int kRanks, int kWidth>
struct ScoresStorage {
  static constexpr int kColumns = kRows * kRanks;
  static_assert(kColumns == 64 || kColumns == 128 || kColumns == 256, "what wgmma multiplies here");
  static_assert(kRows % 8 == 0, "a rank begins at a group of 8 columns");
  static_assert(kWidth == 64 || kWidth == 128, "whole groups of 64 elements");

  __nv_bfloat16 queries[kColumns * kWidth];  // [width / 64][columns][64], swizzled
  __nv_bfloat16 keys[kScoresSlots][kKeyBlocks * kWidth];
  hopper::Barrier full[kScoresSlots];
};

// Where a tile stands.
struct ScoresTile {
  int head_index;  // batch * heads + head
  int first_row;   // query block
  int rows;
  int steps;  // slots of keys: ranks of 64 key blocks, as far as the last row sees
};

template <int kRows>
__device__ __forceinline__ ScoresTile scores_tile(const GateScoresPlan& plan, int tile) {
  const int of_head = plan.tiles_of_head - 1 - tile / plan.all_heads;
  ScoresTile at;
  at.head_index = tile % plan.all_heads;
  at.first_row = of_head * kRows;
  at.rows = min(kRows, plan.q_blocks - at.first_row);
  const int visible =
      selection::visible_blocks(at.first_row + at.rows - 1, plan.visible_of_first, plan.kv_blocks);
  at.steps = (visible + kKeyBlocks - 1) / kKeyBlocks * plan.key_ranks;
  return at;
}

// Starts copying the tile's query representatives. A block's missing ones, of tokens after the last, are replaced by the
// last one, which is in the same block: the largest product stays the same. So are rows after the last, which nobody
// reads. A tile with more ranks than representatives has the last of them several times.
template <int kRows, int kRanks, int kWidth>
__device__ __forceinline__ void copy_queries(const GateScoresPlan& plan, const ScoresTile& at,
                                             std::uint32_t shared) {
  constexpr int kColumns = kRows * kRanks, kParts = kWidth / 8;
  const auto* reps = static_cast<const __nv_bfloat16*>(plan.q_reps) +
                     at.head_index / plan.heads * plan.q_batch_stride +
                     at.head_index % plan.heads * plan.q_head_stride;
  const int part = static_cast<int>(threadIdx.x) % kParts;
#pragma unroll 4
  for (int index = static_cast<int>(threadIdx.x) / kParts; index < kColumns;
       index += kScoresThreads / kParts) {
    const int row = index / kRanks, rank = index % kRanks;
    const int rep = min((at.first_row + row) * plan.q_per_block + min(rank, plan.q_per_block - 1),
                        plan.last_q_rep);
    hopper::copy_16_bytes(shared + hopper::part_offset(kColumns, rank * kRows + row, part),
                          reps + rep * plan.q_row_stride + part * 8);
  }
  hopper::commit_copies();
}

// A thread's scores of 64 key blocks: for u < kRows / 8 and i, c in {0, 1}, of
//   row 8 u + 2 (lane % 4) + c and key block 16 warp + lane / 4 + 8 i:  best[4 u + 2 i + c]
template <int kRows, int kRanks>
__device__ __forceinline__ void largest_of_ranks(const float (&products)[kRows * kRanks / 2],
                                                 bool is_first, float (&best)[kRows / 2]) {
#pragma unroll
  for (int j = 0; j < kRows / 2; ++j) {
    float largest = products[j];
#pragma unroll
    for (int rank = 1; rank < kRanks; ++rank)
      largest = fmaxf(largest, products[rank * (kRows / 2) + j]);
    best[j] = is_first ? largest : fmaxf(best[j], largest);
  }
}

template <int kRows, int kRanks, int kWidth, ScoresOutput kOutput>
__global__ void __launch_bounds__(kScoresThreads, kScoresBlocksOfMultiprocessor)
    gate_scores_kernel(const __grid_constant__ CUtensorMap k_reps,
                       const __grid_constant__ GateScoresPlan plan) {
  using Storage = ScoresStorage<kRows, kRanks, kWidth>;
  constexpr int kColumns = Storage::kColumns;
  extern __shared__ __align__(1024) std::uint8_t shared_bytes[];
  Storage& shared = *reinterpret_cast<Storage*>(shared_bytes);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  if (threadIdx.x == 0) {
    hopper::prefetch_tensor_map(k_reps);
    for (hopper::Barrier& barrier : shared.full) barrier.init(1);
    hopper::fence_barrier_init();
  }
  __syncthreads();

  // Slots are taken in turn over all tiles.
  int slot = 0;
  std::uint32_t parity = 0;
  const auto copy_keys = [&](const ScoresTile& at, int step, int to) {
    const int batch = at.head_index / plan.heads;
    const int key_head = at.head_index % plan.heads / plan.heads_per_key_head;
    const int row = step / plan.key_ranks * kKeyBlocks + step % plan.key_ranks * plan.key_rank_rows;
    shared.full[to].arrive_and_expect(sizeof(shared.keys[to]));
    hopper::load_rows(shared.keys[to], k_reps, shared.full[to], row, key_head, batch);
  };
  const auto begin_tile = [&](const ScoresTile& at) {
    if (threadIdx.x == 0) {
      for (int step = 0; step < min(kScoresSlots, at.steps); ++step)
        copy_keys(at, step, (slot + step) % kScoresSlots);
    }
    copy_queries<kRows, kRanks, kWidth>(plan, at, hopper::shared_address(shared.queries));
  };

  int turn = 0;
  int tile = plan.tile_of(static_cast<int>(blockIdx.x), turn);
  if (tile >= plan.num_tiles) return;
  ScoresTile at = scores_tile<kRows>(plan, tile);
  begin_tile(at);
  while (true) {
    hopper::wait_copies<0>();
    hopper::fence_shared_for_products();
    __syncthreads();
    float* logits =
        plan.logits + (kOutput == ScoresOutput::kLogits
                           ? static_cast<std::int64_t>(at.head_index) * plan.q_blocks + at.first_row
                           : static_cast<std::int64_t>(blockIdx.x) * kRows) *
                          plan.logits_stride;
    float best[kRows / 2];
    int rank = 0, first_block = 0;
    for (int step = 0; step < at.steps; ++step) {
      shared.full[slot].wait(parity);
      float products[kColumns / 2];
      const std::uint64_t keys_at =
          hopper::matrix_descriptor(hopper::shared_address(shared.keys[slot]), kKeyBlocks * 128);
      const std::uint64_t queries_at =
          hopper::matrix_descriptor(hopper::shared_address(shared.queries), kColumns * 128);
      hopper::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kWidth / 16; ++k) {
        const int group = k / 4, bytes = k % 4 * 32;
        hopper::Product<__nv_bfloat16, kColumns>::ss(
            products, keys_at + ((group * kKeyBlocks * 128 + bytes) >> 4),
            queries_at + ((group * kColumns * 128 + bytes) >> 4), k > 0);
      }
      hopper::wgmma_commit();
      hopper::wgmma_wait<0>();
      hopper::pin(products);
      // All warps have read the slot.
      __syncthreads();
      if (threadIdx.x == 0 && step + kScoresSlots < at.steps)
        copy_keys(at, step + kScoresSlots, slot);
      slot = slot == kScoresSlots - 1 ? 0 : slot + 1;
      parity ^= slot == 0 ? 1u : 0u;

      largest_of_ranks<kRows, kRanks>(products, rank == 0, best);
      if (++rank < plan.key_ranks) continue;
      const int key_block = first_block + 16 * warp + lane / 4;
      float* out = logits + 2 * (lane % 4) * plan.logits_stride + key_block;
#pragma unroll
      for (int u = 0; u < kRows / 8; ++u) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const float scores[2] = {best[4 * u + c] * plan.scale, best[4 * u + 2 + c] * plan.scale};
          if constexpr (kOutput == ScoresOutput::kLogits) {
            const int row = 8 * u + 2 * (lane % 4) + c;
            const int visible = selection::visible_blocks(at.first_row + row, plan.visible_of_first,
                                                          plan.kv_blocks);
            const float hidden = __int_as_float(0xff800000);
            if (row < at.rows && key_block < plan.kv_blocks)
              out[0] = key_block < visible ? scores[0] : hidden;
            if (row < at.rows && key_block + 8 < plan.kv_blocks)
              out[8] = key_block + 8 < visible ? scores[1] : hidden;
          } else {
            out[0] = scores[0];
            out[8] = scores[1];
          }
          out += (c == 0 ? 1 : 7) * plan.logits_stride;
        }
      }
      rank = 0;
      first_block += kKeyBlocks;
    }
    // The next tile's first copies run while this one's rows are chosen from. Its products are complete.
    __syncthreads();
    const ScoresTile done = at;
    tile = plan.tile_of(static_cast<int>(blockIdx.x), ++turn);
    if (tile < plan.num_tiles) {
      at = scores_tile<kRows>(plan, tile);
      begin_tile(at);
    }
    if constexpr (kOutput == ScoresOutput::kLogits) {
      for (int row = warp; row < done.rows; row += kScoresThreads / 32) {
        for (int block = first_block + lane; block < plan.kv_blocks; block += 32)
          logits[row * plan.logits_stride + block] = __int_as_float(0xff800000);
      }
    } else {
      select_rows<kOutput>(plan, done.head_index, done.first_row, done.rows, logits);
    }
    if (tile >= plan.num_tiles) return;
  }
}

}  // namespace seer::sm90
