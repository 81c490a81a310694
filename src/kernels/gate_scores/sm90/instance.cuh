// The definition behind launch.h.
#pragma once

#include "kernels/device/check.cuh"
#include "kernels/gate_scores/sm90/kernel.cuh"
#include "kernels/gate_scores/sm90/launch.h"

namespace seer::sm90 {

template <int kRows, int kRanks, int kWidth, ScoresOutput kOutput>
void launch_gate_scores_output(const CUtensorMap_st& k_reps, const GateScoresPlan& plan,
                               CUstream_st* stream) {
  constexpr int kSharedBytes = sizeof(ScoresStorage<kRows, kRanks, kWidth>);
  const auto kernel = &gate_scores_kernel<kRows, kRanks, kWidth, kOutput>;
  check_cuda(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
      "cudaFuncSetAttribute");
  kernel<<<static_cast<unsigned>(plan.num_multiprocessors * kScoresBlocksOfMultiprocessor),
           kScoresThreads, kSharedBytes, stream>>>(k_reps, plan);
  check_launch("gate_scores_kernel");
}

template <int kRows, int kRanks, int kWidth>
void launch_gate_scores(ScoresOutput output, const CUtensorMap_st& k_reps,
                        const GateScoresPlan& plan, CUstream_st* stream) {
  const auto launch =
      output == ScoresOutput::kLogits
          ? &launch_gate_scores_output<kRows, kRanks, kWidth, ScoresOutput::kLogits>
      : output == ScoresOutput::kTopBlocks
          ? &launch_gate_scores_output<kRows, kRanks, kWidth, ScoresOutput::kTopBlocks>
      : output == ScoresOutput::kThreshold
          ? &launch_gate_scores_output<kRows, kRanks, kWidth, ScoresOutput::kThreshold>
          : &launch_gate_scores_output<kRows, kRanks, kWidth, ScoresOutput::kMass>;
  launch(k_reps, plan, stream);
}

}  // namespace seer::sm90
