// The producer: one warp a group, which takes tiles, walks the kept key blocks and starts the copies.
#pragma once

#include "kernels/block_sparse_attention/sm90/shared_storage.cuh"
#include "kernels/hopper/tma.cuh"

namespace seer::sm90 {

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

  __device__ __forceinline__ void run() {
    for (;;) {
      int position = 0;
      if (lane == 0) position = atomicAdd(arguments.next_tile, 1);
      position = __shfl_sync(~0u, position, 0);
      if (position >= arguments.num_tiles) break;
      const Tile tile = tile_at(arguments, position);
      if (arguments.kept == nullptr) {
        dense_tile(tile);
      } else {
        sparse_tile(tile);
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
    hopper::load_rows(&shared.q[group], arguments.q, s.tile_full, message.tile.q_block * kBlock,
                      message.tile.head, message.tile.batch);
  }

  __device__ __forceinline__ void load(const CUtensorMap& map, const Tile& tile, int block) {
    auto& s = storage();
    s.empty[ring.slot].wait(ring.parity ^ 1);
    s.key_block[ring.slot] = block;
    s.full[ring.slot].arrive_and_expect(P::kTileBytes);
    hopper::load_rows(&shared.kv[group][ring.slot], map, s.full[ring.slot], block * kBlock,
                      tile.head / arguments.heads_per_kv_head, tile.batch);
    ring.advance();
  }

  // The order of consumption: the keys of a block, then the values of the block before it.
  __device__ __forceinline__ void load_pair(const Tile& tile, int block, int previous) {
    load(arguments.k, tile, block);
    if (previous >= 0) load(arguments.v, tile, previous);
  }

  __device__ __forceinline__ void dense_tile(const Tile& tile) {
    if (lane != 0) return;
    const int num_blocks = visible_blocks<kBlock>(arguments, tile.q_block);
    send({tile, num_blocks});
    for (int block = 0; block < num_blocks; ++block) load_pair(tile, block, block - 1);
    if (num_blocks > 0) load(arguments.v, tile, num_blocks - 1);
  }

  // The warp reads 32 words of bits at a time and walks their set bits together; its first lane works.
  __device__ __forceinline__ void sparse_tile(const Tile& tile) {
    const std::int64_t row = mask_row(arguments, tile);
    const std::uint32_t* const words = arguments.kept + row * arguments.kept_words;
    if (lane == 0) send({tile, arguments.kept_count[row]});
    int previous = -1;
    for (int first = 0; first < arguments.kept_words; first += 32) {
      const std::uint32_t own = first + lane < arguments.kept_words ? words[first + lane] : 0;
      for (unsigned nonzero = __ballot_sync(~0u, own != 0); nonzero != 0; nonzero &= nonzero - 1) {
        const int from = __ffs(static_cast<int>(nonzero)) - 1;
        std::uint32_t bits = __shfl_sync(~0u, own, from);
        for (; bits != 0; bits &= bits - 1) {
          const int block = (first + from) * 32 + __ffs(static_cast<int>(bits)) - 1;
          if (lane == 0) load_pair(tile, block, previous);
          previous = block;
        }
      }
    }
    if (lane == 0 && previous >= 0) load(arguments.v, tile, previous);
    __syncwarp();
  }
};

}  // namespace seer::sm90
