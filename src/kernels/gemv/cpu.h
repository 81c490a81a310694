#pragma once

#include "base/cpu_isa.h"
#include "kernels/gemv/params.h"

namespace seer {

// Computes the output features [begin, end) of every row of x. Thread-safe for distinct ranges; the same bits however
// the features are cut. Elements: float32 and bfloat16, sums in float32.
void gemv_cpu(const GemvParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end);

}  // namespace seer
