#pragma once

#include "kernels/row_layers/params.h"

namespace seer {

// Plain loops in double, for the rows [begin, end).
void rms_norm_reference(const RmsNormParams& params, std::int64_t begin, std::int64_t end);
void rope_reference(const RopeParams& params, std::int64_t begin, std::int64_t end);
void swiglu_reference(const SwigluParams& params, std::int64_t begin, std::int64_t end);

}  // namespace seer
