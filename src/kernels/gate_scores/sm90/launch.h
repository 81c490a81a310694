// The instances of the scores' kernel, each compiled in a file of its own (tile_*.cu.in).
#pragma once

#include "kernels/gate_scores/sm90/plan.h"

struct CUstream_st;  // what cudaStream_t points to
struct CUtensorMap_st;

namespace seer::sm90 {

// k_reps: in boxes of 64 rows (hopper/tensor_map.cuh).
template <int kRows, int kRanks, int kWidth>
void launch_gate_scores(ScoresOutput output, const CUtensorMap_st& k_reps,
                        const GateScoresPlan& plan, CUstream_st* stream);

}  // namespace seer::sm90
