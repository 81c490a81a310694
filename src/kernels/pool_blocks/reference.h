#pragma once

#include "kernels/pool_blocks/params.h"

namespace seer {

// The truth: plain loops, averages summed in double precision. Fills the output blocks with indices
// [block_begin, block_end) of the flattened [batch, heads, ceil(length / block_size)].
void pool_blocks_reference(const PoolBlocksParams& params, std::int64_t block_begin,
                           std::int64_t block_end);

}  // namespace seer
