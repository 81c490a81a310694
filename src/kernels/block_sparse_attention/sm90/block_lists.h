// From a mask of bytes to what the kernel walks: kept blocks as bits, and the order of work.
#pragma once

#include <cstdint>

#include "kernels/block_sparse_attention/params.h"

struct CUstream_st;

namespace seer::sm90 {

struct BlockLists {
  std::uint32_t* kept;  // [mask rows, words]
  int* kept_count;      // [mask rows]
  int* order;           // [batch, num_q_heads, num_q_blocks]
  int* next_tile;       // 1; set to 0
};

// Enqueues both on `stream`. Blocks that no query of the row can see are dropped. Tiles of one key/value head come
// together, the longest first. Which of equally long ones comes first is left open.
void make_block_lists(const AttentionParams& params, const BlockLists& lists, CUstream_st* stream);

}  // namespace seer::sm90
