// The two kernels of the backward: who does what. Both are persistent grids of one thread block per multiprocessor (or
// fewer), in which warpgroup 0 produces and the others consume.
#pragma once

#include "kernels/block_sparse_attention_backward/sm90/key_value_consumer.cuh"
#include "kernels/block_sparse_attention_backward/sm90/key_value_producer.cuh"
#include "kernels/block_sparse_attention_backward/sm90/query_consumer.cuh"
#include "kernels/block_sparse_attention_backward/sm90/query_producer.cuh"

namespace seer::sm90 {

template <class Shared>
__device__ __forceinline__ void prepare_backward(const BackwardArguments& arguments, Shared& shared,
                                                 int warpgroups_in_group) {
  if (threadIdx.x == 0) {
    hopper::prefetch_tensor_map(arguments.forward.q);
    hopper::prefetch_tensor_map(arguments.forward.k);
    hopper::prefetch_tensor_map(arguments.forward.v);
    hopper::prefetch_tensor_map(arguments.grad_out);
    const int warps = 4 * warpgroups_in_group;
    for (auto& group : shared.group) {
      group.work_full.init(1);
      group.work_empty.init(warps);
      for (auto& barrier : group.full) barrier.init(1);
      for (auto& barrier : group.empty) barrier.init(warps);
    }
    hopper::fence_barrier_init();
  }
  __syncthreads();
}

template <hopper::TwoByteFloat T, int kBlock, int kHeadDim>
__global__ void __launch_bounds__(BackwardPlan<kBlock, kHeadDim>::kThreads, 1)
    key_value_gradients_kernel(const __grid_constant__ BackwardArguments arguments) {
  using P = BackwardPlan<kBlock, kHeadDim>;
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  auto& shared = *reinterpret_cast<KeyValueStorage<kBlock, kHeadDim>*>(shared_bytes);
  prepare_backward(arguments, shared, P::kWarpgroupsInGroup);

  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    hopper::lower_registers<P::kKeyValueProducerRegisters>();
    const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
    if (warp < P::kGroups) {
      KeyValueProducer<kBlock, kHeadDim>{.arguments = arguments,
                                         .shared = shared,
                                         .group = P::kGroups == 1 ? 0 : warp,
                                         .lane = static_cast<int>(threadIdx.x) % 32}
          .run();
    }
  } else {
    hopper::raise_registers<P::kKeyValueConsumerRegisters>();
    const int consumer = warpgroup - 1;
    KeyValueConsumer<T, kBlock, kHeadDim>{{.arguments = arguments,
                                           .shared = shared,
                                           .group = consumer / P::kWarpgroupsInGroup,
                                           .number = consumer % P::kWarpgroupsInGroup,
                                           .thread = static_cast<int>(threadIdx.x) % 128}}
        .run();
  }
}

// Reads nothing of what the kernel before it writes: where that one lets it, it fills the multiprocessors that have no more
// keys and values to work on.
template <hopper::TwoByteFloat T, int kBlock, int kHeadDim>
__global__ void __launch_bounds__(BackwardPlan<kBlock, kHeadDim>::kThreads, 1)
    query_gradients_kernel(const __grid_constant__ BackwardArguments arguments) {
  using P = BackwardPlan<kBlock, kHeadDim>;
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  auto& shared = *reinterpret_cast<QueryStorage<kBlock, kHeadDim>*>(shared_bytes);
  prepare_backward(arguments, shared, P::kWarpgroupsInGroup);

  const int warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 128, 0);
  if (warpgroup == 0) {
    hopper::lower_registers<P::kQueryProducerRegisters>();
    const int warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0);
    if (warp < P::kGroups) {
      QueryProducer<kBlock, kHeadDim>{.arguments = arguments,
                                      .shared = shared,
                                      .group = P::kGroups == 1 ? 0 : warp,
                                      .lane = static_cast<int>(threadIdx.x) % 32}
          .run();
    }
    hopper::
        wait_for_predecessor();  // so that what follows this kernel also follows the one before it
  } else {
    hopper::raise_registers<P::kQueryConsumerRegisters>();
    const int consumer = warpgroup - 1;
    QueryConsumer<T, kBlock, kHeadDim>{{.arguments = arguments,
                                        .shared = shared,
                                        .group = consumer / P::kWarpgroupsInGroup,
                                        .number = consumer % P::kWarpgroupsInGroup,
                                        .thread = static_cast<int>(threadIdx.x) % 128}}
        .run();
  }
}

// Adds the partial sums of split columns, in the order of the queries. One warpgroup for 64 keys of a column (blockIdx.x / 2)
// and one of its gradients (blockIdx.y).
template <hopper::TwoByteFloat T, int kBlock, int kHeadDim>
__global__ void __launch_bounds__(128)
    add_partials_kernel(const __grid_constant__ BackwardArguments arguments) {
  constexpr int kTiles = kBlock / 64;
  constexpr int kOutputs = kHeadDim / 2;
  const int number = blockIdx.x % kTiles, which = blockIdx.y, thread = threadIdx.x;
  const int index = blockIdx.x / kTiles;
  if (index >= arguments.counters->num_split) return;
  const SplitColumn split = arguments.split_columns[index];
  const Column column = split.column;

  float sum[kOutputs] = {};
  for (int n = 0; n < split.count; ++n) {
    const float4* const from =
        reinterpret_cast<const float4*>(arguments.partials) +
        (static_cast<std::int64_t>((split.partial + n) * kTiles + number) * 2 + which) *
            (kOutputs / 4 * 128) +
        thread;
#pragma unroll
    for (int i = 0; i < kOutputs / 4; ++i) {
      const float4 four = from[i * 128];
      sum[4 * i] += four.x;
      sum[4 * i + 1] += four.y;
      sum[4 * i + 2] += four.z;
      sum[4 * i + 3] += four.w;
    }
  }
  const Strides& strides = which == 0 ? arguments.grad_k_strides : arguments.grad_v_strides;
  T* const to = static_cast<T*>(which == 0 ? arguments.grad_k : arguments.grad_v) +
                column.batch * strides.batch + column.kv_head * strides.head;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row =
        column.key_block * kBlock + number * kTileRows + thread / 32 * 16 + thread % 32 / 4 + 8 * i;
    hopper::store_row(to + row * strides.row, sum, i, which == 0 ? arguments.scale : 1.0f,
                      row < arguments.forward.kv_len);
  }
}

}  // namespace seer::sm90
