// The producer of the kernel for the gradients of queries: one warp a group.
#pragma once

#include "kernels/block_sparse_attention/sm90/producer.cuh"
#include "kernels/block_sparse_attention_backward/sm90/shared_storage.cuh"
#include "kernels/hopper/bulk_copy.cuh"

namespace seer::sm90 {

template <int kBlock, int kHeadDim>
struct QueryProducer {
  using P = BackwardPlan<kBlock, kHeadDim>;
  using Shared = QueryStorage<kBlock, kHeadDim>;

  const BackwardArguments& arguments;
  Shared& shared;
  const int group;
  const int lane;
  hopper::RingPosition<P::kQuerySlots> ring = {};
  std::uint32_t work_parity = 0;
  NextTile next = {};

  __device__ __forceinline__ void run() {
    const Arguments& a = arguments.forward;
    for (;;) {
      next.finish(a, lane);
      if (!next.is_tile(a)) break;
      const NextTile taken = next;
      next = {};
      const Tile tile = tile_of(a, taken.id);
      if (a.kept == nullptr) {
        dense_tile(tile);
      } else {
        sparse_tile(tile, taken);
      }
    }
    if (lane == 0) {
      auto& s = storage();
      s.work_empty.wait(work_parity ^ 1);
      s.message.num_steps = -1;
      s.work_full.arrive();
    }
  }

 private:
  __device__ __forceinline__ auto& storage() { return shared.group[group]; }

  __device__ __forceinline__ void send(const Tile& tile, int num_steps) {
    auto& s = storage();
    s.work_empty.wait(work_parity ^ 1);
    work_parity ^= 1;
    s.message = {tile.batch, tile.head, tile.q_block, num_steps, -1};
    s.work_full.arrive();
    if (num_steps == 0) return;
#pragma unroll 1
    for (int i = 0; i < P::kWarpgroupsInGroup; ++i) {
      load(arguments.forward.q, tile.q_block * kBlock + i * kTileRows, tile.head, tile.batch,
           arguments.minus_lse);
    }
#pragma unroll 1
    for (int i = 0; i < P::kWarpgroupsInGroup; ++i) {
      load(arguments.grad_out, tile.q_block * kBlock + i * kTileRows, tile.head, tile.batch,
           arguments.delta);
    }
  }

  // `stats` null: rows of keys or values, which have none.
  __device__ __forceinline__ void load(const CUtensorMap& map, int row, int head, int batch,
                                       const float* stats) {
    auto& s = storage();
    const int slot = ring.slot;
    s.empty[slot].wait(ring.parity ^ 1);
    s.first_row[slot] = row;
    s.full[slot].arrive_and_expect(P::kTileBytes + (stats == nullptr ? 0 : P::kStatBytes));
    hopper::load_rows(&shared.slot[group][slot], map, s.full[slot], row, head, batch);
    if (stats != nullptr) {
      const std::int64_t at =
          (static_cast<std::int64_t>(batch) * arguments.forward.num_q_heads + head) *
              arguments.padded_q_len +
          row;
      hopper::load_bytes(shared.stats[group][slot], stats + at, P::kStatBytes, s.full[slot]);
    }
    ring.advance();
  }
  // 64 keys and their values.
  __device__ __forceinline__ void load_step(int step, const Tile& tile) {
    const Arguments& a = arguments.forward;
    const int kv_head = tile.head / a.heads_per_kv_head;
    load(a.k, step * kTileRows, kv_head, tile.batch, nullptr);
    load(a.v, step * kTileRows, kv_head, tile.batch, nullptr);
  }

  __device__ __forceinline__ void dense_tile(const Tile& tile) {
    const Arguments& a = arguments.forward;
    const int last_row = min((tile.q_block + 1) * kBlock, a.q_len) - 1;
    const int last_key = min(last_row + a.causal_shift, a.kv_len - 1);
    const int num_steps = last_key < 0 ? 0 : last_key / kTileRows + 1;
    if (lane == 0) send(tile, num_steps);
    for (int step = 0; step < num_steps; ++step) {
      if (lane == 0) load_step(step, tile);
      if (next.steps < NextTile::kSteps) next.step(a, lane);
    }
    __syncwarp();
  }

  // As the forward's producer walks them.
  __device__ __forceinline__ void sparse_tile(const Tile& tile, const NextTile& taken) {
    const Arguments& a = arguments.forward;
    if (lane == 0) send(tile, taken.blocks * P::kWarpgroupsInGroup);
    std::uint32_t own = taken.words;
    for (int first = 0;;) {
      for (unsigned nonzero = __ballot_sync(~0u, own != 0); nonzero != 0; nonzero &= nonzero - 1) {
        const int from = __ffs(static_cast<int>(nonzero)) - 1;
        std::uint32_t bits = __shfl_sync(~0u, own, from);
        for (; bits != 0; bits &= bits - 1) {
          const int block = (first + from) * 32 + __ffs(static_cast<int>(bits)) - 1;
          if (lane == 0) {
#pragma unroll 1
            for (int i = 0; i < P::kWarpgroupsInGroup; ++i) {
              load_step(block * P::kWarpgroupsInGroup + i, tile);
            }
          }
          if (next.steps < NextTile::kSteps) next.step(a, lane);
        }
      }
      first += 32;
      if (first >= a.kept_words) break;
      const std::int64_t row = mask_row(a, tile);
      own = first + lane < a.kept_words ? a.kept[row * a.kept_words + first + lane] : 0;
    }
    __syncwarp();
  }
};

}  // namespace seer::sm90
