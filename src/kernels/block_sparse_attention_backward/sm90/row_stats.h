// What the backward's kernels read of each query beside its row: its log-sum-exp and delta.
#pragma once

#include "kernels/block_sparse_attention_backward/params.h"

struct CUstream_st;

namespace seer::sm90 {

// Both of [batch, num_q_heads, padded_q_len] as BackwardArguments says.
struct RowStats {
  float *minus_lse, *delta;
  int padded_q_len;
};

// Enqueues on `stream` the one pass over out and grad_out. It runs beside the kernel before it.
void make_row_stats(const AttentionBackwardParams& params, const RowStats& stats,
                    CUstream_st* stream);

}  // namespace seer::sm90
