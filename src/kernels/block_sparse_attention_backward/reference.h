#pragma once

#include "kernels/block_sparse_attention_backward/params.h"

namespace seer {

// The truth: plain loops, every sum in double precision. Elements: float32, bfloat16 and float64.
// A unit is one key/value head with its query heads: computes the units [unit_begin, unit_end) of the flattened
// [batch, num_kv_heads], so that callers may spread the work. Distinct units write distinct memory. Keys and values that
// a query does not see are never read.
void attention_backward_reference(const AttentionBackwardParams& params, std::int64_t unit_begin,
                                  std::int64_t unit_end);

}  // namespace seer
