// How far a gate's predicted map is from the teacher's.
#pragma once

#include <ATen/core/Tensor.h>

#include "seer/gate_loss.h"
#include "selection/block_scores.h"

namespace seer {

// logits [1, heads, rows, kv_blocks], -inf where not visible; target of the same shape, rows summing to 1 (or 0 where
// nothing is visible). Returns a scalar that backward can start from; see DistillLoss.
at::Tensor gate_loss(const at::Tensor& logits, const at::Tensor& target, DistillLoss loss);

// The share of the target's mass in the blocks that the ratio rule keeps, 1 where there is none; `grid` is that of these
// rows. A float64 number, on the device of the logits.
at::Tensor gate_recall(const at::Tensor& logits, const at::Tensor& target, const BlockGrid& grid,
                       double ratio);

}  // namespace seer
