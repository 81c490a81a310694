// The work on keys and values: which query blocks keep each key block, cut into items of bounded length.
#pragma once

#include <cstdint>

#include "kernels/block_sparse_attention_backward/params.h"

struct CUstream_st;

namespace seer::sm90 {

// See arguments.cuh.
struct ColumnItem;
struct SplitColumn;
struct ColumnCounters;

// How much there can be of what the device cuts; it depends on the sizes and on `slots`, how many items run at a time.
// A column of more than kShareOfLong of a slot's even share of the work is long: it is started before all others, whatever its
// head, since a late start would be felt at the end. One of more than half a share is split.
struct ColumnLimits {
  int columns;  // batch * num_kv_heads * key blocks
  int long_items;
  int partials;
  int split_columns;

  ColumnLimits(const AttentionParams& params, int block, int slots);
};

struct ColumnBuffers {
  std::uint32_t* kept_queries;  // not used where every block is kept
  int* query_blocks;            // [columns], how many each has
  ColumnItem* items;            // [long_items]
  ColumnItem* column_items;     // [columns]
  SplitColumn* split_columns;
  ColumnCounters* counters;  // zeros
};

// Enqueues on `stream`; with a mask, behind a kernel that lets dependents start (block_lists.h). `block` is the size of the blocks of work: the mask's, or what dense attention is cut into.
// Columns of one key/value head come together, the longest first. The order, and where partial sums go, may differ from run to
// run; the items are the same.
void make_columns(const AttentionParams& params, int block, int slots, const ColumnBuffers& buffers,
                  CUstream_st* stream);

}  // namespace seer::sm90
