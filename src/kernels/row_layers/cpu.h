#pragma once

#include "base/cpu_isa.h"
#include "kernels/row_layers/params.h"

namespace seer {

// Each computes the rows [begin, end). Thread-safe for distinct ranges; the same bits however the rows are cut.
// Elements: float32 and bfloat16, arithmetic in float32.
void rms_norm_cpu(const RmsNormParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end);
void rope_cpu(const RopeParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end);
void swiglu_cpu(const SwigluParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end);

}  // namespace seer
