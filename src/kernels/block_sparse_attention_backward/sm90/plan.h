// How the Hopper kernels of the backward cut their work: sizes known at compile time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seer::sm90 {

// One thread block per multiprocessor: a producer warpgroup and two consumer warpgroups of 64 keys (or 64 queries) each.
// Consumers form groups that share what streams by:
//   kBlock 64   two groups of one warpgroup: each has its own list of blocks
//   kBlock 128  one group of two
// Everything crosses to shared memory in tiles of 64 rows, through a ring of slots that each also hold 64 floats.
template <int kBlock, int kHeadDim>
struct BackwardPlan {
  static_assert(kBlock == 64 || kBlock == 128, "wgmma's tiles are made for these");
  static_assert(kHeadDim == 64 || kHeadDim == 128, "accumulators of wider heads do not fit");

  static constexpr int kWarpgroupsInGroup = kBlock / 64;
  static constexpr int kGroups = 2 / kWarpgroupsInGroup;
  static constexpr int kThreads = 384;
  // Of 168 registers a thread at the start. The accumulators and operands of keys and values take 208 in the consumers.
  static constexpr int kKeyValueProducerRegisters = 24, kKeyValueConsumerRegisters = 240;
  static constexpr int kQueryProducerRegisters = 40, kQueryConsumerRegisters = 232;

  static constexpr int kTileBytes = 64 * kHeadDim * 2;
  static constexpr int kStatBytes = 64 * 4;
  static constexpr int kGroupBytes = (227 * 1024 - 512) / kGroups;  // less barriers and messages
  static constexpr int kMostSlots = 12;
  static constexpr int slots(int held_tiles) {
    const int fitting = (kGroupBytes - held_tiles * kTileBytes) / (kTileBytes + kStatBytes);
    return fitting < kMostSlots ? fitting : kMostSlots;
  }
  static constexpr int kHeldTiles = 2 * kWarpgroupsInGroup;  // keys and values
  static constexpr int kKeyValueSlots = slots(kHeldTiles);
  static constexpr int kQuerySlots = slots(0);
};

}  // namespace seer::sm90
