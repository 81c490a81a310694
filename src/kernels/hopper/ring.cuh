// A position in a ring of shared-memory slots.
#pragma once

#include <cstdint>

namespace seer::hopper {

// `parity` is that of the phase of a slot's "full" barrier which this pass over the ring waits for; the "empty" barrier
// of the same pass is waited for with the other parity, so that the first pass finds every slot empty.
template <int kSlots>
struct RingPosition {
  int slot = 0;
  std::uint32_t parity = 0;

  __device__ __forceinline__ void advance() {
    if (++slot == kSlots) {
      slot = 0;
      parity ^= 1;
    }
  }
};

}  // namespace seer::hopper
