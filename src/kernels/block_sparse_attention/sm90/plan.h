// How the Hopper kernel cuts its work: sizes known at compile time, for the kernel and for whoever launches it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seer::sm90 {

// One thread block per multiprocessor: a producer warpgroup and consumer warpgroups of 64 query rows each. Consumers form
// groups that share key/value tiles of `kBlock` tokens. A group owns a query block at a time, a ring of tiles, and the
// producer warp of its number.
//   kBlock 64   three groups of one warpgroup: each has its own list of key blocks, and while one does its softmax the
//               others keep the tensor cores busy
//   kBlock 128  one group of two warpgroups that take turns
template <int kBlock, int kHeadDim>
struct Plan {
  static_assert(kBlock == 64 || kBlock == 128, "wgmma's tiles are made for these");
  static_assert(kHeadDim == 64 || kHeadDim == 128, "accumulators of wider heads do not fit");

  static constexpr int kGroups = kBlock == 64 ? 3 : 1;
  static constexpr int kWarpgroupsInGroup = kBlock / 64;
  static constexpr int kConsumers = kGroups * kWarpgroupsInGroup;
  static constexpr int kThreads = 128 * (1 + kConsumers);
  // A thread block starts with as many registers as its threads share evenly; what the producer does not need goes to the
  // consumers' accumulators.
  static constexpr int kStartRegisters = 65536 / kThreads / 8 * 8;
  static constexpr int kProducerRegisters = 56;
  static constexpr int kConsumerRegisters =
      (kStartRegisters * (1 + kConsumers) - kProducerRegisters) / kConsumers / 8 * 8;

  static constexpr int kTileBytes = kBlock * kHeadDim * 2;  // of queries, keys or values
  static constexpr int kSharedBytes = 227 * 1024 - 2048;    // less what barriers and messages take
  static constexpr int kFittingSlots =
      kSharedBytes / kGroups / kTileBytes - 1;  // beside the queries
  static constexpr int kSlots = kFittingSlots < 8 ? kFittingSlots : 8;
  static_assert(kSlots >= 3, "a key tile, a value tile, and one on its way");
};

}  // namespace seer::sm90
