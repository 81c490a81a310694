// What the consumers of both kernels of the backward have in common: a warpgroup's side of its group's ring.
#pragma once

#include "kernels/block_sparse_attention/sm90/online_softmax.cuh"
#include "kernels/block_sparse_attention_backward/sm90/shared_storage.cuh"
#include "kernels/hopper/accumulator_rows.cuh"
#include "kernels/hopper/wgmma.cuh"

namespace seer::sm90 {

constexpr int kColumnGroupBytes = kTileRows * 128;  // of 64 columns of a tile
constexpr int kScores = 32;                         // a thread's share of 64 x 64

template <hopper::TwoByteFloat T, int kHeadDim, class Shared, int kSlots>
struct BackwardConsumer {
  static constexpr int kOutputs = kHeadDim / 2;  // a thread's share of 64 x kHeadDim
  using Ring = hopper::RingPosition<kSlots>;

  const BackwardArguments& arguments;
  Shared& shared;
  const int group;
  const int number;  // of the warpgroup in its group
  const int thread;  // in the warpgroup
  Ring ring = {};

  __device__ __forceinline__ int lane() const { return thread % 32; }
  // Of the thread's first row, in the warpgroup's 64; the other is 8 further.
  __device__ __forceinline__ int first_row() const { return thread / 32 * 16 + lane() / 4; }

  __device__ __forceinline__ void wait_full(const Ring& at) {
    shared.group[group].full[at.slot].wait(at.parity);
  }
  // Each warp arrives once, after all its lanes have read.
  __device__ __forceinline__ void release(const Ring& at) {
    __syncwarp();
    if (lane() == 0) shared.group[group].empty[at.slot].arrive();
  }
  __device__ __forceinline__ int row_of(const Ring& at) {
    int row = 0;
    if (lane() == 0) row = shared.group[group].first_row[at.slot];
    return __shfl_sync(~0u, row, 0);
  }
  __device__ __forceinline__ WorkMessage message() {
    WorkMessage m = {};
    if (lane() == 0) m = shared.group[group].message;
    return {__shfl_sync(~0u, m.batch, 0), __shfl_sync(~0u, m.head, 0), __shfl_sync(~0u, m.block, 0),
            __shfl_sync(~0u, m.num_steps, 0), __shfl_sync(~0u, m.partial, 0)};
  }
  // The message is read by the lane that arrives, and what is held by products alone.
  __device__ __forceinline__ void release_work() {
    if (lane() == 0) shared.group[group].work_empty.arrive();
  }
  __device__ __forceinline__ std::uint32_t address_of(const Ring& at) const {
    return hopper::shared_address(&shared.slot[group][at.slot]);
  }

  // to[64, kHeadDim] += A[64, 64] tile[64, kHeadDim], A in registers.
  __device__ __forceinline__ void start_gradient(float (&to)[kOutputs],
                                                 const std::uint32_t (&a)[kScores / 2],
                                                 const Ring& tile) {
    const std::uint32_t address = address_of(tile);
    hopper::pin(to);
    hopper::wgmma_fence();
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      hopper::Product<T, kHeadDim>::template rs<true>(
          to, a[4 * step], a[4 * step + 1], a[4 * step + 2], a[4 * step + 3],
          hopper::matrix_descriptor(address + step * 2048, kColumnGroupBytes), 1);
    }
    hopper::wgmma_commit();
  }
};

}  // namespace seer::sm90
