#include "kernels/select_blocks/reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/bfloat16.h"

namespace seer {
namespace {

double widen(float x) {
  return x;
}
double widen(double x) {
  return x;
}
double widen(std::uint16_t bfloat16) {
  return bfloat16_to_float(bfloat16);
}

// The blocks of a row that at least one of its queries may see: the last query sees the most keys.
std::int64_t count_visible(const SelectBlocksParams& params, std::int64_t q_block) {
  const std::int64_t last_query = std::min((q_block + 1) * params.block_size, params.q_len) - 1;
  std::int64_t visible = 0;
  for (std::int64_t block = 0; block < params.num_kv_blocks; ++block) {
    const std::int64_t first_key = block * params.block_size;
    visible += first_key <= last_query + params.kv_len - params.q_len;
  }
  return visible;
}

// How many of the scores, sorted from the highest, the rule keeps.
std::int64_t count_kept(const SelectBlocksParams& params, const std::vector<double>& scores,
                        const std::vector<std::int64_t>& order) {
  const auto visible = static_cast<std::int64_t>(order.size());
  std::int64_t kept = 0;
  switch (params.rule) {
    case SelectionRule::kAll: return visible;
    case SelectionRule::kTopBlocks: return std::min(params.top_blocks, visible);
    case SelectionRule::kThreshold: {
      const double threshold = params.element == Element::kFloat64
                                   ? params.threshold
                                   : static_cast<float>(params.threshold);
      while (kept < visible && scores[order[kept]] > threshold) ++kept;
      return kept;
    }
    case SelectionRule::kMass: {
      const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
      if (total == 0.0) return 1;
      // Rounding may leave the sum of all just below the target: then all positive ones are kept.
      double sum = 0.0;
      while (kept < visible && scores[order[kept]] > 0.0 &&
             (kept == 0 || params.mass == 1.0 || sum < params.mass * total)) {
        sum += scores[order[kept++]];
      }
      return kept;
    }
  }
  return kept;
}

template <typename T>
BadScore select(const SelectBlocksParams& params, std::int64_t position_begin,
                std::int64_t position_end) {
  std::vector<double> scores;
  std::vector<std::int64_t> order;
  for (std::int64_t position = position_begin; position < position_end; ++position) {
    const SelectionRow row = selection_row(params, position);
    const std::int64_t visible = count_visible(params, row.q_block);
    std::uint8_t* mask =
        params.mask + ((row.batch * params.heads + row.head) * params.num_q_blocks + row.q_block) *
                          params.num_kv_blocks;
    for (std::int64_t block = 0; block < params.num_kv_blocks; ++block) mask[block] = 0;
    if (visible == 0) continue;

    scores.assign(visible, 0.0);
    if (params.rule != SelectionRule::kAll) {
      const T* from =
          static_cast<const T*>(params.scores) + row.batch * params.scores_strides.batch +
          row.head * params.scores_strides.head + row.q_block * params.scores_strides.row;
      for (std::int64_t block = 0; block < visible; ++block) {
        const double score = widen(from[block]);
        if (std::isnan(score) ||
            (params.rule == SelectionRule::kMass && (score < 0.0 || std::isinf(score)))) {
          return {position, block, score};
        }
        scores[block] = score;
      }
    }
    order.resize(visible);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t left, std::int64_t right) {
      return scores[left] > scores[right];
    });
    const std::int64_t kept = count_kept(params, scores, order);
    for (std::int64_t rank = 0; rank < kept; ++rank) mask[order[rank]] = 1;
    const bool dense = row.q_block >= params.num_q_blocks - params.dense_rows;
    for (std::int64_t block = 0; block < visible; ++block) {
      if (dense || block < params.sink || block >= visible - params.local) mask[block] = 1;
    }
  }
  return {};
}

}  // namespace

BadScore select_blocks_reference(const SelectBlocksParams& params, std::int64_t position_begin,
                                 std::int64_t position_end) {
  switch (params.element) {
    case Element::kFloat32: return select<float>(params, position_begin, position_end);
    case Element::kBFloat16: return select<std::uint16_t>(params, position_begin, position_end);
    case Element::kFloat64: return select<double>(params, position_begin, position_end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "select_blocks_reference: expected float32, bfloat16 or float64 scores");
}

}  // namespace seer
