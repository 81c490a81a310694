#include "kernels/gate_scores/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "base/element_value.h"
#include "kernels/select_blocks/reference.h"

namespace seer {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// One row: [num_kv_blocks].
template <typename T>
void score_row(const GateScoresParams& params, std::int64_t index, double* logits) {
  const std::int64_t q_blocks = params.num_q_blocks(), kv_blocks = params.num_kv_blocks();
  const std::int64_t q_block = index % q_blocks;
  const std::int64_t head = index / q_blocks % params.heads;
  const std::int64_t batch = index / q_blocks / params.heads;
  const T* q = static_cast<const T*>(params.q_reps) + batch * params.q_strides.batch +
               head * params.q_strides.head;
  const T* k = static_cast<const T*>(params.k_reps) + batch * params.k_strides.batch +
               head / (params.heads / params.key_heads) * params.k_strides.head;
  const std::int64_t q_per_block = params.block_size / params.q_tokens;
  const std::int64_t k_per_block = params.block_size / params.k_tokens;
  const std::int64_t q_end =
      std::min((q_block + 1) * q_per_block, ceil_div(params.q_len, params.q_tokens));
  const std::int64_t last_key =
      std::min((q_block + 1) * params.block_size, params.q_len) - 1 + params.kv_len - params.q_len;
  for (std::int64_t block = 0; block < kv_blocks; ++block) {
    logits[block] = kMinusInfinity;
    if (block * params.block_size > last_key) continue;
    const std::int64_t k_end =
        std::min((block + 1) * k_per_block, ceil_div(params.kv_len, params.k_tokens));
    for (std::int64_t i = q_block * q_per_block; i < q_end; ++i) {
      for (std::int64_t j = block * k_per_block; j < k_end; ++j) {
        double product = 0.0;
        for (std::int64_t d = 0; d < params.width; ++d)
          product +=
              widen(q[i * params.q_strides.row + d]) * widen(k[j * params.k_strides.row + d]);
        // A NaN is passed over, unless there is nothing else.
        const double logit = product * params.scale;
        const bool is_first = i == q_block * q_per_block && j == block * k_per_block;
        if (is_first || logit > logits[block] || std::isnan(logits[block])) logits[block] = logit;
      }
    }
  }
}

void score_row(const GateScoresParams& params, std::int64_t index, double* logits) {
  switch (params.element) {
    case Element::kFloat32: return score_row<float>(params, index, logits);
    case Element::kBFloat16: return score_row<std::uint16_t>(params, index, logits);
    case Element::kFloat64: return score_row<double>(params, index, logits);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "gate_scores_reference: expected float32, bfloat16 or float64 elements");
}

void softmax(std::vector<double>& logits) {
  double largest = kMinusInfinity;
  for (double& logit : logits) {
    logit =
        std::isnan(logit) ? kMinusInfinity : std::min(logit, std::numeric_limits<double>::max());
    largest = std::max(largest, logit);
  }
  double sum = 0.0;
  for (double& logit : logits) sum += logit = std::exp(logit - largest);
  for (double& probability : logits) probability /= sum;
}

}  // namespace

void gate_scores_reference(const GateScoresParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t kv_blocks = params.num_kv_blocks();
  std::vector<double> logits(static_cast<std::size_t>(kv_blocks));
  for (std::int64_t index = begin; index < end; ++index) {
    score_row(params, index, logits.data());
    std::transform(logits.begin(), logits.end(), params.logits + index * kv_blocks,
                   [](double logit) { return static_cast<float>(logit); });
  }
}

void select_gate_blocks_reference(const SelectGateBlocksParams& params, std::int64_t begin,
                                  std::int64_t end) {
  const GateScoresParams& scores = params.scores;
  const std::int64_t q_blocks = scores.num_q_blocks(), kv_blocks = scores.num_kv_blocks();
  std::vector<double> row(static_cast<std::size_t>(kv_blocks));
  for (std::int64_t index = begin; index < end; ++index) {
    score_row(scores, index, row.data());
    // A call of one row: its query block is the last of a prompt that ends with it.
    const std::int64_t q_block = index % q_blocks;
    SelectBlocksParams one = params.selection;
    const std::int64_t queries =
        std::min(scores.block_size, scores.q_len - q_block * scores.block_size);
    const std::int64_t keys = scores.kv_len - scores.q_len + q_block * scores.block_size + queries;
    const std::int64_t visible = ceil_div(keys, scores.block_size);
    row.resize(static_cast<std::size_t>(visible));
    if (one.rule == SelectionRule::kTopBlocks) {
      for (double& logit : row) {
        if (std::isnan(logit)) logit = kMinusInfinity;
      }
    } else if (one.rule != SelectionRule::kAll) {
      softmax(row);
    }
    one.scores = row.data();
    one.scores_strides = {visible, visible, visible};
    one.element = Element::kFloat64;
    one.mask = params.selection.mask + index * kv_blocks;
    one.batch = one.heads = one.num_q_blocks = 1;
    one.q_len = queries;
    one.kv_len = keys;
    one.block_size = scores.block_size;
    one.num_kv_blocks = visible;
    one.dense_rows = q_block >= q_blocks - params.selection.dense_rows ? 1 : 0;
    if (params.thresholds != nullptr) {
      one.threshold = params.thresholds[index / q_blocks % scores.heads];
    } else {
      one.threshold = static_cast<float>(one.threshold);
    }
    select_blocks_reference(one, 0, 1);
    std::fill(one.mask + visible, one.mask + kv_blocks, std::uint8_t{0});
    row.resize(static_cast<std::size_t>(kv_blocks));
  }
}

}  // namespace seer
