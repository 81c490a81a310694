// A gate's scores, and the choice from them, on a Hopper GPU (compute capability 9.0).
#pragma once

#include <cstddef>

#include "kernels/gate_scores/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// Whether there is a kernel for these sizes: bfloat16, width 64 or 128, at most 32 representatives a query block.
bool has_gate_scores_cuda(const GateScoresParams& params);

// The logits of all pairs of blocks; -inf where no query of the row sees the key block. Asynchronous on the stream. Pointers
// are of device memory, q_reps and k_reps 16-byte aligned with strides that are multiples of 8 elements; float32
// accumulation. The same bits on every run. Throws std::runtime_error where a launch fails.
void gate_scores_cuda(const GateScoresParams& params, int num_multiprocessors, CUstream_st* stream);

// The mask, without the logits in memory: those of a tile of rows lie in the workspace, mostly in the second-level cache,
// until the rows are chosen from. Scores that are NaN rank last.
std::size_t select_gate_blocks_cuda_workspace_bytes(const SelectGateBlocksParams& params,
                                                    int num_multiprocessors);
// workspace: 256-byte aligned, untouched until the work is done.
void select_gate_blocks_cuda(const SelectGateBlocksParams& params, void* workspace,
                             int num_multiprocessors, CUstream_st* stream);

}  // namespace seer
