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

// Of one group.
template <int kBlock, int kHeadDim>
struct GroupStorage {
  using P = Plan<kBlock, kHeadDim>;
  hopper::Barrier tile_full, tile_empty;  // the message and the queries
  hopper::Barrier full[P::kSlots], empty[P::kSlots];
  int key_block[P::kSlots];  // of key tiles: which block it is
  TileMessage message;
};

template <int kBlock, int kHeadDim>
struct SharedStorage {
  using P = Plan<kBlock, kHeadDim>;
  struct alignas(1024) TileData {
    unsigned char bytes[P::kTileBytes];
  };
  TileData q[P::kGroups];
  TileData kv[P::kGroups][P::kSlots];  // keys and values in the order in which they are consumed
  GroupStorage<kBlock, kHeadDim> group[P::kGroups];
  float row_offset[128];  // of the block map: what turns a stored row maximum into a probability
};

}  // namespace seer::sm90
