#pragma once

#include "kernels/gate_scores/params.h"

namespace seer {

// The truth: plain loops in double precision. Both fill the rows [begin, end) of the flattened [batch, heads, query
// blocks]. Elements: float32, bfloat16 and float64.
void gate_scores_reference(const GateScoresParams& params, std::int64_t begin, std::int64_t end);

// Logits and their softmax stay in double precision until they are chosen from. NaN ranks last, as on the GPU.
void select_gate_blocks_reference(const SelectGateBlocksParams& params, std::int64_t begin,
                                  std::int64_t end);

}  // namespace seer
