// Copies of 16 bytes a thread from global to shared memory that do not wait, and matrices for wgmma made of them.
#pragma once

#include <cstdint>

#include "kernels/hopper/mbarrier.cuh"

namespace seer::hopper {

__device__ __forceinline__ void copy_16_bytes(std::uint32_t shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
// The copies of this thread since the last call become one group.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most `kPending` of this thread's groups are not complete.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
// What this thread wrote to shared memory becomes visible to the tensor cores; a barrier must follow.
__device__ __forceinline__ void fence_shared_for_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// The offset of 16 bytes number `part` of row `row` in a matrix of `rows` rows of two-byte elements along K, in groups of
// 64 columns swizzled as matrix_descriptor() says.
__device__ __forceinline__ std::uint32_t part_offset(int rows, int row, int part) {
  return static_cast<std::uint32_t>(part / 8 * rows * 128 + row * 128 +
                                    ((part % 8 ^ row % 8) << 4));
}

}  // namespace seer::hopper
