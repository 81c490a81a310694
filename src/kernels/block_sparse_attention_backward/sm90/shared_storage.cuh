// What the warps of a thread block of the backward's kernels share.
#pragma once

#include <cstdint>

#include "kernels/block_sparse_attention_backward/sm90/arguments.cuh"
#include "kernels/block_sparse_attention_backward/sm90/plan.h"
#include "kernels/hopper/mbarrier.cuh"
#include "kernels/hopper/ring.cuh"

namespace seer::sm90 {

// What a producer tells its group of the next piece of work.
struct WorkMessage {
  int batch, head,
      block;      // a key/value head and its key block, or a query head and its query block
  int num_steps;  // tiles of 64 queries (of 64 keys) that follow; negative: no work follows
  int partial;    // of keys and values: ColumnItem::partial
};

// The barriers of one group.
template <int kSlots>
struct GroupBarriers {
  hopper::Barrier work_full, work_empty;  // the message, and the tiles that are held
  hopper::Barrier full[kSlots], empty[kSlots];
  int first_row[kSlots];  // of the tile in the slot
  WorkMessage message;
  std::uint32_t work_parity;  // the producer's, where it has no register for it
};

template <int kGroups, int kSlots, int kHeldTiles, int kTileBytes>
struct BackwardStorage {
  struct alignas(1024) TileData {
    unsigned char bytes[kTileBytes];
  };
  TileData slot[kGroups][kSlots];
  TileData held[kGroups][kHeldTiles > 0 ? kHeldTiles : 1];
  alignas(16) float stats[kGroups][kSlots][kTileRows];
  GroupBarriers<kSlots> group[kGroups];
};
// Without held tiles nothing is wasted on them.
template <int kGroups, int kSlots, int kTileBytes>
struct BackwardStorage<kGroups, kSlots, 0, kTileBytes> {
  struct alignas(1024) TileData {
    unsigned char bytes[kTileBytes];
  };
  TileData slot[kGroups][kSlots];
  alignas(16) float stats[kGroups][kSlots][kTileRows];
  GroupBarriers<kSlots> group[kGroups];
};

// Of the ring, in the order of consumption:
//   keys and values  q0, do0, q1, do1, ...; -lse with the queries, delta with their gradients. The keys and values are held.
//   queries          of a query block q (a tile for each warpgroup), do (the same); then k0, v0, k1, v1, ...
template <int kBlock, int kHeadDim, class P = BackwardPlan<kBlock, kHeadDim>>
using KeyValueStorage =
    BackwardStorage<P::kGroups, P::kKeyValueSlots, P::kHeldTiles, P::kTileBytes>;
template <int kBlock, int kHeadDim, class P = BackwardPlan<kBlock, kHeadDim>>
using QueryStorage = BackwardStorage<P::kGroups, P::kQuerySlots, 0, P::kTileBytes>;

}  // namespace seer::sm90
