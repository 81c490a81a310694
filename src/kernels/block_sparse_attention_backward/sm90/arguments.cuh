// What the host hands to the Hopper kernels of attention's backward.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "base/tensor_layout.h"
#include "kernels/block_sparse_attention/sm90/arguments.cuh"

namespace seer::sm90 {

// The rows of queries, keys, values and gradients that cross to shared memory at a time.
constexpr int kTileRows = 64;

// A key block of a key/value head, with the queries that keep it.
struct Column {
  int batch, kv_head, key_block;
};

// A piece of the work on keys and values: some of the query blocks that keep a key block.
struct ColumnItem {
  Column column;     // batch negative: nothing
  int first, count;  // of the column's query blocks, head by head
  int partial;       // where the sums go; negative: they are the gradients
};

// A column that was cut into items with partial sums `partial` to `partial` + `count` - 1.
struct SplitColumn {
  Column column;
  int partial, count;
};

// Counters on the device, 0 at the start.
struct ColumnCounters {
  unsigned long long query_blocks;  // of all columns
  int next_item;
  int num_long;   // items that come first
  int num_split;  // columns
};

struct BackwardArguments {
  // As the forward's, with tensor maps in boxes of kTileRows rows. Its order of tiles and its lists are those of the queries'
  // gradients.
  Arguments forward;
  CUtensorMap grad_out;

  // Of each query: -lse log2(e), -infinity where it sees nothing, and delta; [batch, num_q_heads, padded_q_len], where
  // queries past the end are as those that see nothing.
  const float *minus_lse, *delta;
  int padded_q_len;  // a multiple of 128

  void *grad_q, *grad_k, *grad_v;
  Strides grad_q_strides, grad_k_strides, grad_v_strides;
  float scale;

  // Null: every block that can be seen. Else of each key block the query blocks that keep it and see it, as
  // Arguments::kept with rows and columns exchanged: [mask batch, mask heads, num_kv_blocks, query_words].
  const std::uint32_t* kept_queries;
  int query_words;

  // Item p is items[p] for p < num_long, else column_items[p - num_long].
  const ColumnItem *items, *column_items;
  int num_columns;
  ColumnCounters* counters;
  std::uint32_t* lists;  // of each group at work: the query blocks of its item
  const SplitColumn* split_columns;
  float*
      partials;  // of each partial, of each 64 keys: grad_k, grad_v as float4 [head_dim / 8][128 threads]
};

// The first query block that sees a key block, where every block is kept; num_q_blocks where none does.
template <int kBlock>
__device__ __forceinline__ int first_query_block(const Arguments& a, int key_block) {
  const int first_query = key_block * kBlock - a.causal_shift;
  return first_query <= 0 ? 0 : min(first_query / kBlock, a.num_q_blocks);
}

}  // namespace seer::sm90
