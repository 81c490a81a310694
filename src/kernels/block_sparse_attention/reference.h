#pragma once

#include "kernels/block_sparse_attention/params.h"

namespace seer {

// The truth: plain loops, every sum in double precision. Fills out, lse and, where asked,
// block_map. Elements: float32, bfloat16 and float64.
// A tile is one query block of one head: computes the tiles [tile_begin, tile_end) of the
// flattened [batch, num_q_heads, ceil(q_len / block_size)], so that callers may spread the work.
// Distinct tiles write distinct memory. Keys and values that a query does not see are never read.
void attention_reference(const AttentionParams& params, std::int64_t tile_begin,
                         std::int64_t tile_end);

}  // namespace seer
