#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_isa.h"
#include "kernels/block_sparse_attention/params.h"

namespace seer {

// The work is cut into independent tiles, each computed by one thread in a fixed order: results do
// not depend on the number of threads. Elements: float32 and bfloat16.
std::int64_t attention_num_tiles(const AttentionParams& params, CpuIsa isa);

// Bytes of scratch that one thread needs, 64-byte aligned; contents are irrelevant between tiles.
std::size_t attention_scratch_bytes(const AttentionParams& params, CpuIsa isa);

// Computes one tile: out, lse and, where asked, block_map. Tile indices are ordered longest work
// first for causal attention. Thread-safe for distinct tiles with distinct scratch.
void attention_tile(const AttentionParams& params, CpuIsa isa, std::int64_t tile, void* scratch);

}  // namespace seer
