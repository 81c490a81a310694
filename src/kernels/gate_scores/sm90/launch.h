// The instances of the scores' kernel, each compiled in a file of its own (instance.cu.in).
#pragma once

#include "kernels/gate_scores/params.h"
#include "kernels/gate_scores/sm90/shape.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer::sm90 {

// Logits where params.selection.mask is null, else the mask; workspace and its stride as kernel.cuh says.
template <int kRows, int kPerBlock, int kWidth>
void launch_gate_scores(const SelectGateBlocksParams& params, const GateScoresSchedule& schedule,
                        float* workspace, int workspace_stride, CUstream_st* stream);

}  // namespace seer::sm90
