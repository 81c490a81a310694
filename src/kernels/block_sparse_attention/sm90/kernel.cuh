// The kernel: who does what.
#pragma once

#include "kernels/block_sparse_attention/sm90/consumer.cuh"
#include "kernels/block_sparse_attention/sm90/producer.cuh"

namespace seer::sm90 {

// A persistent grid of one thread block per multiprocessor (or fewer). Warpgroup 0 produces, the others consume.
template <hopper::TwoByteFloat T, int kBlock, int kHeadDim, bool kWantsMap>
__global__ void __launch_bounds__(Plan<kBlock, kHeadDim>::kThreads, 1)
    attention_kernel(const __grid_constant__ Arguments arguments) {
  using P = Plan<kBlock, kHeadDim>;
  using Shared = SharedStorage<kBlock, kHeadDim>;
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);

  if (threadIdx.x == 0) {
    hopper::prefetch_tensor_map(arguments.q);
    hopper::prefetch_tensor_map(arguments.k);
    hopper::prefetch_tensor_map(arguments.v);
    constexpr int kWarpsInGroup = 4 * P::kWarpgroupsInGroup;
    for (auto& group : shared.group) {
      group.tile_full.init(1);
      group.tile_empty.init(kWarpsInGroup);
      for (auto& barrier : group.full) barrier.init(1);
      for (auto& barrier : group.empty) barrier.init(kWarpsInGroup);
    }
    hopper::fence_barrier_init();
  }
  __syncthreads();

  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    hopper::lower_registers<P::kProducerRegisters>();
    const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
    if (warp < P::kGroups) {
      Producer<kBlock, kHeadDim>{.arguments = arguments,
                                 .shared = shared,
                                 .group = warp,
                                 .lane = static_cast<int>(threadIdx.x) % 32}
          .run();
    }
  } else {
    hopper::raise_registers<P::kConsumerRegisters>();
    const int consumer = warpgroup - 1;
    Consumer<T, kBlock, kHeadDim, kWantsMap>{.arguments = arguments,
                                             .shared = shared,
                                             .group = consumer / P::kWarpgroupsInGroup,
                                             .rows_from = consumer % P::kWarpgroupsInGroup * 64,
                                             .thread = static_cast<int>(threadIdx.x) % 128}
        .run();
  }
}

}  // namespace seer::sm90
