// Bulk tensor copies from global to shared memory (PTX ISA, cp.async.bulk.tensor).
#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/hopper/mbarrier.cuh"

namespace seer::hopper {

__device__ __forceinline__ void prefetch_tensor_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// What a copy's data is worth to the L2 cache (the encoded policies of createpolicy, as the compiler emits them).
constexpr std::uint64_t kEvictFirst = 0x12F0000000000000;
constexpr std::uint64_t kEvictLast = 0x14F0000000000000;

// Rows [row, row + box rows) of one head of a tensor as tensor_map.h describes it, all of head_dim. Called by one
// thread; the bytes count for `full`. Rows past the end are written as zeros, and counted.
__device__ __forceinline__ void load_rows(void* shared, const CUtensorMap& map, Barrier& full,
                                          int row, int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %3, %5, %6}], [%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(&full)), "r"(0), "r"(row), "r"(head), "r"(batch)
      : "memory");
}

}  // namespace seer::hopper
