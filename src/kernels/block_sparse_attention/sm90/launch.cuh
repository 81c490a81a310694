#pragma once

#include <type_traits>

#include "kernels/block_sparse_attention/sm90/kernel.cuh"
#include "kernels/block_sparse_attention/sm90/launch.h"
#include "kernels/device/check.cuh"
#include "kernels/hopper/dependent_launch.cuh"

namespace seer::sm90 {

template <Element kElement, int kBlock, int kHeadDim, bool kWantsMap>
void launch_attention(const Arguments& arguments, int num_thread_blocks, CUstream_st* stream) {
  static_assert(kElement == Element::kBFloat16 || kElement == Element::kFloat16);
  using T = std::conditional_t<kElement == Element::kBFloat16, __nv_bfloat16, __half>;
  auto* const kernel = &attention_kernel<T, kBlock, kHeadDim, kWantsMap>;
  constexpr int kBytes = sizeof(SharedStorage<kBlock, kHeadDim>);
  static_assert(kBytes <= 227 * 1024, "a thread block's shared memory");
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
             "cudaFuncSetAttribute");
  hopper::launch_dependent("attention_kernel", kernel, num_thread_blocks,
                           Plan<kBlock, kHeadDim>::kThreads, kBytes, stream, arguments);
}

}  // namespace seer::sm90
