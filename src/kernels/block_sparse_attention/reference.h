#pragma once

#include "kernels/block_sparse_attention/params.h"

namespace seer {

// The truth: plain loops, every sum in double precision. Fills out, lse and, where asked,
// block_map. Computes the tiles (batch, query head, query row) with indices [row_begin, row_end) of
// the flattened [batch, num_q_heads, ceil(q_len / block_size)] query blocks, so that callers may
// spread the work.
void attention_reference(const AttentionParams& params, std::int64_t tile_begin,
                         std::int64_t tile_end);

}  // namespace seer
