// What the warps of a thread block share.
#pragma once

#include <cstdint>

#include "kernels/block_sparse_attention/sm90/arguments.cuh"
#include "kernels/block_sparse_attention/sm90/plan.h"
#include "kernels/hopper/mbarrier.cuh"
#include "kernels/hopper/ring.cuh"

namespace seer::sm90 {

// What the producer tells its group about the next query block.
struct TileMessage {
  Tile tile;
  int num_blocks;  // kept key blocks; negative: no tile follows
};

// Of one group. The ring holds, in the order in which they are consumed, keys and values of a query block's n key blocks:
// k0, k1, v0, k2, v1, ..., v(n-1); then the next query block's.
template <int kBlock, int kHeadDim>
struct GroupStorage {
  using P = Plan<kBlock, kHeadDim>;
  hopper::Barrier tile_full, tile_empty;  // the message and the queries
  hopper::Barrier full[P::kSlots], empty[P::kSlots];
  int key_block[P::kSlots];  // of keys: which block they are
  TileMessage message;
};

template <int kBlock, int kHeadDim>
struct SharedStorage {
  using P = Plan<kBlock, kHeadDim>;
  struct alignas(1024) TileData {
    unsigned char bytes[P::kTileBytes];
  };
  TileData queries[P::kGroups];
  TileData slot[P::kGroups][P::kSlots];
  GroupStorage<kBlock, kHeadDim> group[P::kGroups];
  float row_offset[128];  // of the block map: what turns a stored row maximum into a probability
};

}  // namespace seer::sm90
