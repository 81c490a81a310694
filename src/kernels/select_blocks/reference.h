#pragma once

#include "kernels/select_blocks/params.h"

namespace seer {

// The truth: every row is sorted. Fills the mask rows at the positions [position_begin,
// position_end), or stops at the first bad score and returns it. Takes every element type.
BadScore select_blocks_reference(const SelectBlocksParams& params, std::int64_t position_begin,
                                 std::int64_t position_end);

}  // namespace seer
