#pragma once

#include <type_traits>

#include "kernels/block_sparse_attention_backward/sm90/kernels.cuh"
#include "kernels/block_sparse_attention_backward/sm90/launch.h"
#include "kernels/device/check.cuh"
#include "kernels/hopper/dependent_launch.cuh"

namespace seer::sm90 {

template <typename Storage>
void launch_persistent(const char* name, void (*kernel)(BackwardArguments), int thread_blocks,
                       int threads, const BackwardArguments& arguments, CUstream_st* stream) {
  static_assert(sizeof(Storage) <= 227 * 1024, "a thread block's shared memory");
  check_cuda(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Storage)),
      "cudaFuncSetAttribute");
  hopper::launch_dependent(name, kernel, thread_blocks, threads, sizeof(Storage), stream,
                           arguments);
}

template <Element kElement, int kBlock, int kHeadDim>
void launch_attention_backward(const BackwardArguments& arguments, const BackwardGrids& grids,
                               CUstream_st* stream) {
  static_assert(kElement == Element::kBFloat16 || kElement == Element::kFloat16);
  using T = std::conditional_t<kElement == Element::kBFloat16, __nv_bfloat16, __half>;
  constexpr int kThreads = BackwardPlan<kBlock, kHeadDim>::kThreads;
  launch_persistent<KeyValueStorage<kBlock, kHeadDim>>(
      "key_value_gradients_kernel", &key_value_gradients_kernel<T, kBlock, kHeadDim>,
      grids.key_value_blocks, kThreads, arguments, stream);
  launch_persistent<QueryStorage<kBlock, kHeadDim>>(
      "query_gradients_kernel", &query_gradients_kernel<T, kBlock, kHeadDim>, grids.query_blocks,
      kThreads, arguments, stream);
  if (grids.split_columns > 0) {
    const dim3 grid(static_cast<unsigned>(grids.split_columns * kBlock / 64), 2);
    add_partials_kernel<T, kBlock, kHeadDim><<<grid, 128, 0, stream>>>(arguments);
    check_launch("add_partials_kernel");
  }
}

}  // namespace seer::sm90
