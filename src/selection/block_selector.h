// From scores to a block mask, as a policy says.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/selection_policy.h"
#include "seer/calibration.h"
#include "selection/block_scores.h"

namespace seer {

// The policy's rule for the layers of a model. select_blocks knows one call; this knows the prompt that calls are part
// of: ratios and the last rows are those of the whole prompt, and a calibrated density becomes its threshold.
class BlockSelector {
 public:
  // `calibration` is that of the gates, null for other sources; it must outlive the object. Throws std::invalid_argument
  // for a rule that the source cannot serve.
  BlockSelector(const SelectionPolicy& policy, const CalibrationTable* calibration);

  // Whether the scores must be probabilities (each row's sum at most 1) and not only an order.
  bool needs_probabilities() const;

  // scores float32 [1, heads, q_blocks, kv_blocks]; `prompt_length` tokens are the whole prompt. Returns bool of the same
  // shape. Throws std::invalid_argument where the calibration does not cover the length.
  at::Tensor select(const at::Tensor& scores, const BlockGrid& grid, std::int64_t prompt_length,
                    std::int64_t layer) const;

 private:
  SelectionPolicy policy_;
  const CalibrationTable* calibration_;
};

}  // namespace seer
