// How the scratch memory of one key block's task is laid out. All floats; bfloat16 is widened on the way in.
//
// Rows of q, grad_out and k lie as they are, padded to whole panels and by one cache line more, so that neighbouring rows
// never compete for the same sets of the cache. Keys and values also lie transposed in panels, once a task.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/block_sparse_attention/params.h"

namespace seer {

struct BackwardLayout {
  std::int64_t key_panels;    // ceil(block_size / panel_width)
  std::int64_t dim_panels;    // ceil(head_dim / panel_width)
  std::int64_t score_stride;  // floats from one row of scores to the next
  std::int64_t row_stride;    // floats from one row of q, grad_out, k, grad_k or grad_v to the next
  // Byte offsets into the scratch, each a multiple of 64.
  std::size_t keys;         // [block_size][row_stride]
  std::size_t key_columns;  // [key_panels][head_dim][panel_width]: k transposed
  std::size_t value_columns;
  std::size_t queries;    // [block_size][row_stride]
  std::size_t grad_outs;  // [block_size][row_stride]
  std::size_t probs;      // [block_size][score_stride]
  std::size_t grad_scores;
  std::size_t grad_keys;  // [block_size][row_stride]: sums
  std::size_t grad_values;
  std::size_t bytes;
};

// Pure: the same parameters give the same layout.
BackwardLayout backward_layout(const AttentionParams& params, std::int64_t panel_width);

}  // namespace seer
