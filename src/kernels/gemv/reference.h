#pragma once

#include "kernels/gemv/params.h"

namespace seer {

// Plain loops with sums in double, for the output features [begin, end).
void gemv_reference(const GemvParams& params, std::int64_t begin, std::int64_t end);

}  // namespace seer
