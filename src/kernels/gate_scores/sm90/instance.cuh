// The definition behind launch.h.
#pragma once

#include "kernels/device/check.cuh"
#include "kernels/gate_scores/sm90/kernel.cuh"
#include "kernels/gate_scores/sm90/launch.h"

namespace seer::sm90 {

template <int kRows, int kPerBlock, int kWidth>
void launch_gate_scores(const SelectGateBlocksParams& params, const GateScoresSchedule& schedule,
                        float* workspace, int workspace_stride, CUstream_st* stream) {
  using Layout = ScoresLayout<kRows, kPerBlock, kWidth>;
  const auto kernel = params.selection.mask != nullptr
                          ? &gate_scores_kernel<kRows, kPerBlock, kWidth, true>
                          : &gate_scores_kernel<kRows, kPerBlock, kWidth, false>;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  Layout::kSharedBytes),
             "cudaFuncSetAttribute");
  kernel<<<static_cast<unsigned>(schedule.num_multiprocessors * kScoresBlocksOfMultiprocessor),
           kScoresThreads, Layout::kSharedBytes, stream>>>(params, schedule, workspace,
                                                           workspace_stride);
  check_launch("gate_scores_kernel");
}

}  // namespace seer::sm90
