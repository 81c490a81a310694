// From scores to a block mask, as a policy says.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "base/selection_policy.h"
#include "seer/calibration.h"
#include "selection/block_scores.h"

namespace seer {

// Whether a source scores the blocks of a whole head, seen from the prompt's last queries, so that it needs the prompt in
// one call.
bool scores_whole_heads(PolicySource source);

// The policy's rule for the layers of a model. select_blocks knows one call; this knows the prompt that calls are part
// of: ratios and the last rows are those of the whole prompt, and a calibrated density becomes its threshold.
class BlockSelector {
 public:
  // `calibration` is that of the gates, null for other sources; it must outlive the object. Throws std::invalid_argument
  // for a rule that the source cannot serve.
  BlockSelector(const SelectionPolicy& policy, const CalibrationTable* calibration);

  // Whether the scores must be probabilities (each row's sum at most 1) and not only an order.
  bool needs_probabilities() const;

  // What Gate::select is asked for this call, where a gate gives the scores.
  struct Rule {
    std::string policy;  // as select_blocks() takes it
    at::Tensor
        thresholds;  // float32 [heads] on the device, or undefined: beside a policy of threshold
  };
  // Throws std::invalid_argument where the calibration does not cover the length.
  Rule gate_rule(const BlockGrid& grid, std::int64_t prompt_length, std::int64_t layer,
                 std::int64_t heads, c10::Device device);
  // Whether gate_rule() serves the policy: all but a density that has to be found in the scores.
  bool has_gate_rule() const;

  // scores float32 [1, heads, q_blocks, kv_blocks]; `prompt_length` tokens are the whole prompt. Returns bool of the same
  // shape. Of sources that score whole heads each head keeps as many blocks as the rule would keep in its rows together.
  // Throws std::invalid_argument where the calibration does not cover the length.
  at::Tensor select(const at::Tensor& scores, const BlockGrid& grid, std::int64_t prompt_length,
                    std::int64_t layer) const;
  // A mask of whole heads, bool [1, heads, q_blocks, kv_blocks], with what sink, local and dense_rows keep besides; the first
  // and the last visible block of each row are always kept.
  at::Tensor with_kept(const at::Tensor& mask, const BlockGrid& grid,
                       std::int64_t prompt_length) const;

 private:
  // The policy for select_blocks(), of this call; kDensity is left as it is.
  SelectionPolicy rule_of(const BlockGrid& grid, std::int64_t prompt_length) const;
  // How many blocks a head keeps, where heads are chosen as a whole.
  std::int64_t blocks_of_head(const SelectionPolicy& rule, const BlockGrid& grid) const;

  SelectionPolicy policy_;
  const CalibrationTable* calibration_;
  // The calibrated thresholds of all layers for one length, [layers or 1, heads]: copied to the device once a prompt.
  at::Tensor thresholds_;
  std::int64_t thresholds_length_ = -1;
};

}  // namespace seer
