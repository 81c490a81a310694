// Bulk copies of contiguous bytes from global to shared memory (PTX ISA, cp.async.bulk).
#pragma once

#include <cstdint>

#include "kernels/hopper/mbarrier.cuh"

namespace seer::hopper {

// Called by one thread; the bytes count for `full`. Addresses and size are multiples of 16.
__device__ __forceinline__ void load_bytes(void* shared, const void* global, std::uint32_t bytes,
                                           Barrier& full) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(&full))
      : "memory");
}

}  // namespace seer::hopper
