#pragma once

#include <cstddef>

#include "kernels/select_blocks/params.h"

namespace seer {

// Bytes of scratch that one thread needs, 8-byte aligned; contents are irrelevant between calls.
std::size_t select_blocks_scratch_bytes(const SelectBlocksParams& params);

// Fills the mask rows at the positions [position_begin, position_end), or stops at the first bad
// score and returns it. Elements: float32 and bfloat16. Thread-safe for distinct positions with
// distinct scratch. Work is linear in the number of visible blocks.
BadScore select_blocks_cpu(const SelectBlocksParams& params, std::int64_t position_begin,
                           std::int64_t position_end, void* scratch);

}  // namespace seer
