#include "seer/calibrate.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/log2.h>
#include <ATen/ops/masked_select.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "attention/dense_attention.h"
#include "selection/block_scores.h"

namespace seer {
namespace {

// What no probability of a block exceeds unless it is the only one; and what a map's smallest ones do.
constexpr double kLargestThreshold = 0.999999;
constexpr double kLeastThreshold = 1e-18;

// Counts probabilities by their logarithm, so that memory does not grow with the length.
class ProbabilityCounts {
 public:
  // probabilities: float32, any shape.
  void add(const at::Tensor& probabilities) {
    const at::Tensor bins = (at::log2(probabilities) * -kBinsPerOctave)
                                .clamp(0, kBins - 1)
                                .floor()
                                .to(at::kLong)
                                .view(-1);
    const at::Tensor counts = at::bincount(bins, /*weights=*/{}, kBins).cpu();
    const auto* count = counts.const_data_ptr<std::int64_t>();
    for (std::size_t bin = 0; bin < counts_.size(); ++bin) counts_[bin] += count[bin];
  }

  // The least threshold with at most `count` probabilities above it.
  double threshold_above(std::int64_t count) const {
    std::int64_t above = 0;
    std::size_t bin = 0;
    while (bin + 1 < counts_.size() && above + counts_[bin] <= count) above += counts_[bin++];
    return std::exp2(-static_cast<double>(bin) / kBinsPerOctave);
  }

  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const std::int64_t count : counts_) sum += count;
    return sum;
  }

 private:
  static constexpr int kBinsPerOctave = 512;
  static constexpr int kBins = 60 * kBinsPerOctave;  // down to 2^-60; the rest is in the last
  std::vector<std::int64_t> counts_ = std::vector<std::int64_t>(kBins);
};

// Dense attention that counts what the gates predict.
class CountingAttention final : public Attention {
 public:
  explicit CountingAttention(const GateSet& gates) : gates_(gates) {}

  at::Tensor attend(const AttentionCall& call) override {
    const Gate& gate = gates_.layer(call.layer);
    const BlockGrid grid{
        .q_len = call.q_len(), .kv_len = call.kv_len(), .block_size = gate.config().block_size};
    const at::Tensor logits =
        gate.block_logits(gate.query_representatives(call.q_before_rope, 0),
                          gate.key_representatives(call.k_before_rope, 0), grid.q_len, grid.kv_len);
    const at::Tensor ends = grid.ends_mask(1, 1, logits.device());
    const at::Tensor between = grid.visible_mask(logits.device()) & ends.logical_not();
    counts.add(at::masked_select(at::softmax(logits, -1), between));
    forced += ends.sum().item<std::int64_t>() * logits.size(1);
    return dense_attention(call.q, call.k, call.v, AttentionBackend::kSeer);
  }

  ProbabilityCounts counts;
  std::int64_t forced = 0;

 private:
  const GateSet& gates_;
};

void check(const CalibrationOptions& options, const ModelConfig& model) {
  if (options.lengths.empty()) {
    throw std::invalid_argument("calibration lengths: expected at least one");
  }
  for (const std::int64_t length : options.lengths) {
    if (length >= 2 && length <= model.max_positions) continue;
    throw std::invalid_argument(
        fmt::format("calibration length {}: expected 2 to {} (max_position_embeddings of {})",
                    length, model.max_positions, model.name));
  }
  for (const double density : options.densities) {
    if (density > 0 && density < 1) continue;
    throw std::invalid_argument(
        fmt::format("calibration density {}: expected more than 0 and less than 1", density));
  }
  if (options.tokens_per_length < 1) {
    throw std::invalid_argument(
        fmt::format("calibration tokens {}: expected 1 or more", options.tokens_per_length));
  }
}

}  // namespace

CalibrationTable calibrate_gates(const Model& model, const GateSet& gates, const TrainingData& data,
                                 const CalibrationOptions& options) {
  check(options, model.config());
  const auto sequences_of = [&](std::int64_t length) {
    return (options.tokens_per_length + length - 1) / length;
  };
  std::int64_t total = 0, done = 0;
  for (const std::int64_t length : options.lengths) total += sequences_of(length);

  CalibrationTable table;
  for (const std::int64_t length : options.lengths) {
    CountingAttention attention(gates);
    for (std::int64_t i = 0; i < sequences_of(length); ++i) {
      KvCache cache = KvCache::one_layer(model.config(), length, model.options().tensors());
      model.forward(at::tensor(data.sequence(i, length), at::kLong).unsqueeze(0), cache,
                    &attention);
      if (options.on_progress) options.on_progress(++done, total);
    }
    const auto visible = static_cast<double>(attention.counts.total() + attention.forced);
    for (const double density : options.densities) {
      const auto wanted = static_cast<std::int64_t>(density * visible) - attention.forced;
      const double threshold =
          wanted > 0 ? attention.counts.threshold_above(wanted) : kLargestThreshold;
      table.rows.push_back(
          {.length = length,
           .density = density,
           .thresholds = {std::clamp(threshold, kLeastThreshold, kLargestThreshold)}});
    }
  }
  table.check();
  return table;
}

}  // namespace seer
