#pragma once

#include "base/cpu_isa.h"
#include "kernels/pool_blocks/params.h"

namespace seer {

// The work is cut into batch * heads * ceil(length / block_size) tiles, one output block each, in
// the order in which x lies in memory; this computes the tiles [tile_begin, tile_end). Thread-safe
// for distinct tiles. Elements: float32 and bfloat16. Maximum and minimum propagate NaN. The
// average adds the tokens in their order in float32 and divides once: the same bits whatever the
// instruction set and the number of threads.
void pool_blocks_cpu(const PoolBlocksParams& params, CpuIsa isa, std::int64_t tile_begin,
                     std::int64_t tile_end);

}  // namespace seer
