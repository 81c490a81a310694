#include "selection/block_selector.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/masked_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "seer/ops.h"
#include "selection/head_selection.h"

namespace seer {
namespace {

bool has_probabilities(PolicySource source) {
  return source == PolicySource::kGate || source == PolicySource::kOracle ||
         source == PolicySource::kMeanpool || source == PolicySource::kXattention;
}

// Whether the scores are ranks alone, of which a threshold says nothing.
bool is_only_an_order(PolicySource source) {
  return source == PolicySource::kStreaming || source == PolicySource::kRandom;
}

// Refuses a threshold or a mass of scores that are no probabilities.
void check_rule(const SelectionPolicy& policy) {
  if (has_probabilities(policy.source)) return;
  const std::string policy_and_source =
      "policy '" + policy.to_string() + "': " + std::string(policy_source_name(policy.source));
  if (policy.source == PolicySource::kFlexprefill) {
    if (policy.rule != PolicyRule::kThreshold) return;
    throw std::invalid_argument(policy_and_source +
                                " chooses by mass and knows no threshold of a block; expected one "
                                "of mass, ratio, budget, density");
  }
  if (policy.rule == PolicyRule::kThreshold || policy.rule == PolicyRule::kMass) {
    throw std::invalid_argument(policy_and_source +
                                " has an order of blocks and no probabilities; expected one of "
                                "ratio, budget, density");
  }
}

// Thresholds differ between heads and select_blocks() takes one: it gets 1 for a chosen block, 0 for another, and this.
constexpr double kBetween = 0.5;

// [1, heads, 1, 1]: the calibrated thresholds of a layer.
at::Tensor head_thresholds(const CalibrationTable& calibration, double density,
                           std::int64_t prompt_length, std::int64_t layer, std::int64_t heads) {
  std::vector<float> thresholds;
  for (std::int64_t head = 0; head < heads; ++head) {
    thresholds.push_back(
        static_cast<float>(calibration.threshold_for(density, prompt_length, layer, head)));
  }
  return at::tensor(thresholds, at::kFloat).view({1, heads, 1, 1});
}

// The threshold that keeps `density` of the visible blocks, those included that `forced` keeps anyway.
at::Tensor quantile_threshold(const at::Tensor& scores, const BlockGrid& grid,
                              const at::Tensor& forced, double density) {
  const at::Tensor ranked = scores.masked_fill(forced, std::numeric_limits<float>::infinity());
  const at::Tensor visible = at::masked_select(ranked, grid.visible_mask(scores.device()));
  const auto dropped =
      static_cast<std::int64_t>(std::floor((1 - density) * static_cast<double>(visible.numel())));
  if (dropped == 0) {
    return at::full({}, -std::numeric_limits<float>::infinity(), scores.options());
  }
  return std::get<0>(visible.kthvalue(dropped));
}

// The rows among the last `dense_rows` of the prompt that are in this call.
std::int64_t dense_rows_here(std::int64_t dense_rows, const BlockGrid& grid,
                             std::int64_t prompt_length) {
  const std::int64_t prompt_blocks = (prompt_length + grid.block_size - 1) / grid.block_size;
  return std::clamp<std::int64_t>(grid.kv_blocks() - (prompt_blocks - dense_rows), 0,
                                  grid.q_blocks());
}

}  // namespace

bool scores_whole_heads(PolicySource source) {
  return source == PolicySource::kMinference || source == PolicySource::kFlexprefill;
}

BlockSelector::BlockSelector(const SelectionPolicy& policy, const CalibrationTable* calibration)
    : policy_(policy), calibration_(calibration) {
  if (policy_.rule == PolicyRule::kNone) {
    throw std::invalid_argument("policy '" + policy_.to_string() + "': has no rule to select by");
  }
  const bool is_density = policy_.rule == PolicyRule::kDensity;
  check_rule(policy_);
  if (policy_.source == PolicySource::kGate && is_density && policy_.value < 1 &&
      (calibration_ == nullptr || calibration_->empty())) {
    throw std::invalid_argument("policy '" + policy_.to_string() +
                                "': the gates have no calibration table; run 'seer calibrate' on "
                                "the adapter, or use ratio, "
                                "threshold, mass or budget");
  }
  // Beside them a threshold may leave a row with nothing, and what a calibration was measured with holds.
  if (is_density) {
    policy_.sink = std::max<std::int64_t>(policy_.sink, 1);
    policy_.local = std::max<std::int64_t>(policy_.local, 1);
  }
  // An order gives a density by the number of blocks a row.
  if (is_density && is_only_an_order(policy_.source)) policy_.rule = PolicyRule::kRatio;
}

bool BlockSelector::needs_probabilities() const {
  return policy_.rule == PolicyRule::kThreshold || policy_.rule == PolicyRule::kMass ||
         policy_.rule == PolicyRule::kDensity;
}

SelectionPolicy BlockSelector::rule_of(const BlockGrid& grid, std::int64_t prompt_length) const {
  SelectionPolicy rule = policy_;
  rule.source = PolicySource::kGate;  // what select_blocks() calls scores, wherever they are from
  rule.start_layer = 0;
  rule.dense_rows = dense_rows_here(policy_.dense_rows, grid, prompt_length);
  if (rule.rule == PolicyRule::kRatio) {
    const std::int64_t blocks = (prompt_length + grid.block_size - 1) / grid.block_size;
    rule.rule = PolicyRule::kBudget;
    rule.budget = blocks_of_ratio(policy_.value, blocks) * grid.block_size;
  }
  return rule;
}

bool BlockSelector::has_gate_rule() const {
  return policy_.rule != PolicyRule::kDensity ||
         (policy_.source == PolicySource::kGate && policy_.value < 1);
}

BlockSelector::Rule BlockSelector::gate_rule(const BlockGrid& grid, std::int64_t prompt_length,
                                             std::int64_t layer, std::int64_t heads,
                                             c10::Device device) {
  SelectionPolicy rule = rule_of(grid, prompt_length);
  if (rule.rule != PolicyRule::kDensity) return {rule.to_string(), {}};
  if (thresholds_length_ != prompt_length || !thresholds_.defined() ||
      thresholds_.size(1) != heads || thresholds_.device() != device) {
    calibration_->threshold_for(policy_.value, prompt_length, layer,
                                heads - 1);  // refuses what it has not
    const std::vector<double> values = calibration_->thresholds_for(policy_.value, prompt_length);
    const std::vector<float> rounded(values.begin(), values.end());
    const std::int64_t of_layer = std::max<std::int64_t>(calibration_->heads, 1);
    thresholds_ = at::tensor(rounded, at::kFloat)
                      .view({-1, of_layer})
                      .expand({-1, heads})
                      .contiguous()
                      .to(device);
    thresholds_length_ = prompt_length;
  }
  rule.rule = PolicyRule::kThreshold;
  rule.value = kBetween;  // not looked at
  return {rule.to_string(), thresholds_[calibration_->layers > 0 ? layer : 0]};
}

std::int64_t BlockSelector::blocks_of_head(const SelectionPolicy& rule,
                                           const BlockGrid& grid) const {
  if (rule.rule == PolicyRule::kDensity) {
    return std::llround(rule.value * static_cast<double>(grid.visible()));
  }
  const std::int64_t of_row = blocks_of_budget(rule.budget, grid.block_size);
  std::int64_t blocks = 0;
  for (std::int64_t row = 0; row < grid.q_blocks(); ++row) {
    blocks += std::min(of_row, grid.visible_in_row(row));
  }
  return blocks;
}

at::Tensor BlockSelector::with_kept(const at::Tensor& mask, const BlockGrid& grid,
                                    std::int64_t prompt_length) const {
  at::Tensor kept = mask | grid.ends_mask(std::max<std::int64_t>(policy_.sink, 1),
                                          std::max<std::int64_t>(policy_.local, 1), mask.device());
  const std::int64_t dense = dense_rows_here(policy_.dense_rows, grid, prompt_length);
  if (dense > 0) {
    const std::int64_t first = grid.q_blocks() - dense;
    kept.narrow(2, first, dense)
        .copy_(grid.visible_mask(mask.device())
                   .narrow(0, first, dense)
                   .expand_as(kept.narrow(2, first, dense)));
  }
  return kept;
}

at::Tensor BlockSelector::select(const at::Tensor& scores, const BlockGrid& grid,
                                 std::int64_t prompt_length, std::int64_t layer) const {
  SelectionPolicy rule = rule_of(grid, prompt_length);
  if (scores_whole_heads(policy_.source)) {
    const at::Tensor visible = grid.visible_mask(scores.device());
    const at::Tensor ranked =
        scores[0].masked_fill(visible.logical_not(), -std::numeric_limits<float>::infinity());
    const at::Tensor mask = highest_of_heads(ranked, blocks_of_head(rule, grid)) & visible;
    return with_kept(mask.unsqueeze(0), grid, prompt_length);
  }
  at::Tensor ranked = scores;
  if (rule.rule == PolicyRule::kDensity) {
    const at::Tensor threshold =
        policy_.source == PolicySource::kGate && policy_.value < 1
            ? head_thresholds(*calibration_, policy_.value, prompt_length, layer, scores.size(1))
                  .to(scores.device())
            : quantile_threshold(scores, grid,
                                 grid.ends_mask(policy_.sink, policy_.local, scores.device()),
                                 policy_.value);
    ranked = (scores > threshold).to(at::kFloat);
    rule.rule = PolicyRule::kThreshold;
    rule.value = kBetween;
  }
  return select_blocks(ranked, rule.to_string(), grid.q_len, grid.kv_len, grid.block_size);
}

}  // namespace seer
