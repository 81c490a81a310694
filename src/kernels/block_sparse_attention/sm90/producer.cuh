// The producer: one warp a group, which takes tiles, walks the kept key blocks and starts the copies.
#pragma once

#include "kernels/block_sparse_attention/sm90/shared_storage.cuh"
#include "kernels/hopper/dependent_launch.cuh"
#include "kernels/hopper/tma.cuh"

namespace seer::sm90 {

// Takes the next tile while the one at hand is still being loaded: each step asks for what the step before has received,
// so that none waits for memory if there is work between them.
struct NextTile {
  int position = 0;  // lane 0's
  int id = 0;
  int blocks = 0;
  std::uint32_t words = 0;  // the mask row's first 32, one a lane
  int steps = 0;
  static constexpr int kSteps = 3;

  __device__ __forceinline__ void step(const Arguments& a, int lane) {
    if (steps == 0) {
      if (lane == 0) position = atomicAdd(a.next_tile, 1);
    } else if (steps == 1) {
      position = __shfl_sync(~0u, position, 0);
      if (is_tile(a)) id = a.order == nullptr ? tile_at(a, position) : a.order[position];
    } else if (steps == 2 && is_tile(a)) {
      const Tile tile = tile_of(a, id);
      if (a.kept == nullptr) {
        blocks = -1;
      } else {
        const std::int64_t row = mask_row(a, tile);
        blocks = a.kept_count[row];
        words = lane < a.kept_words ? a.kept[row * a.kept_words + lane] : 0;
      }
    }
    ++steps;
  }
  __device__ __forceinline__ void finish(const Arguments& a, int lane) {
    while (steps < kSteps) step(a, lane);
  }
  __device__ __forceinline__ bool is_tile(const Arguments& a) const {
    return position < a.num_tiles;
  }
};

template <int kBlock, int kHeadDim>
struct Producer {
  using P = Plan<kBlock, kHeadDim>;
  using Shared = SharedStorage<kBlock, kHeadDim>;

  const Arguments& arguments;
  Shared& shared;
  const int group;
  const int lane;
  hopper::RingPosition<P::kSlots> ring = {};
  std::uint32_t tile_parity = 0;
  NextTile next = {};

  __device__ __forceinline__ void run() {
    hopper::wait_for_predecessor();  // which makes the lists and the counter
    for (;;) {
      next.finish(arguments, lane);
      if (!next.is_tile(arguments)) break;
      const NextTile taken = next;
      next = {};
      const Tile tile = tile_of(arguments, taken.id);
      if (arguments.kept == nullptr) {
        dense_tile(tile);
      } else {
        sparse_tile(tile, taken);
      }
    }
    if (lane == 0) send({.tile = {}, .num_blocks = -1});
  }

 private:
  __device__ __forceinline__ GroupStorage<kBlock, kHeadDim>& storage() {
    return shared.group[group];
  }

  // Tells the group what comes, and starts the copy of its queries.
  __device__ __forceinline__ void send(const TileMessage& message) {
    auto& s = storage();
    s.tile_empty.wait(tile_parity ^ 1);
    tile_parity ^= 1;
    s.message = message;
    if (message.num_blocks <= 0) {
      s.tile_full.arrive();
      return;
    }
    s.tile_full.arrive_and_expect(P::kTileBytes);
    hopper::load_rows(&shared.queries[group], arguments.q, s.tile_full,
                      message.tile.q_block * kBlock, message.tile.head, message.tile.batch);
  }

  __device__ __forceinline__ void load(const CUtensorMap& map, const Tile& tile, int block) {
    auto& s = storage();
    s.empty[ring.slot].wait(ring.parity ^ 1);
    s.key_block[ring.slot] = block;
    s.full[ring.slot].arrive_and_expect(P::kTileBytes);
    hopper::load_rows(&shared.slot[group][ring.slot], map, s.full[ring.slot], block * kBlock,
                      tile.head / arguments.heads_per_kv_head, tile.batch);
    ring.advance();
  }
  // The order of consumption: the keys of a block, then the values of the block before it.
  __device__ __forceinline__ void load_pair(const Tile& tile, int block, int previous) {
    load(arguments.k, tile, block);
    if (previous >= 0) load(arguments.v, tile, previous);
  }

  __device__ __forceinline__ void dense_tile(const Tile& tile) {
    const int num_blocks = visible_blocks<kBlock>(arguments, tile.q_block);
    if (lane == 0) send({tile, num_blocks});
    for (int block = 0; block < num_blocks; ++block) {
      if (lane == 0) load_pair(tile, block, block - 1);
      if (next.steps < NextTile::kSteps) next.step(arguments, lane);
    }
    if (lane == 0 && num_blocks > 0) load(arguments.v, tile, num_blocks - 1);
  }

  // The warp has 32 words of bits at a time and walks their set bits together; its first lane works.
  __device__ __forceinline__ void sparse_tile(const Tile& tile, const NextTile& taken) {
    if (lane == 0) send({tile, taken.blocks});
    int previous = -1;
    std::uint32_t own = taken.words;
    for (int first = 0;;) {
      for (unsigned nonzero = __ballot_sync(~0u, own != 0); nonzero != 0; nonzero &= nonzero - 1) {
        const int from = __ffs(static_cast<int>(nonzero)) - 1;
        std::uint32_t bits = __shfl_sync(~0u, own, from);
        for (; bits != 0; bits &= bits - 1) {
          const int block = (first + from) * 32 + __ffs(static_cast<int>(bits)) - 1;
          if (lane == 0) load_pair(tile, block, previous);
          previous = block;
          if (next.steps < NextTile::kSteps) next.step(arguments, lane);
        }
      }
      first += 32;
      if (first >= arguments.kept_words) break;
      const std::int64_t row = mask_row(arguments, tile);
      own = first + lane < arguments.kept_words
                ? arguments.kept[row * arguments.kept_words + first + lane]
                : 0;
    }
    if (lane == 0 && previous >= 0) load(arguments.v, tile, previous);
    __syncwarp();
  }
};

}  // namespace seer::sm90
