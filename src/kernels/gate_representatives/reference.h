#pragma once

#include "kernels/gate_representatives/params.h"

namespace seer {

// The truth: plain loops in double precision, rounded once to bfloat16. Fills the representatives [begin, end) of the
// flattened [batch, out_heads, count]. Elements: float32, bfloat16 and float64.
void gate_representatives_reference(const GateRepresentativesParams& params, std::int64_t begin,
                                    std::int64_t end);

}  // namespace seer
