// What crosses from the operators to the selection kernels: plain data.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

enum class SelectionRule { kAll, kTopBlocks, kThreshold, kMass };

struct SelectBlocksParams {
  const void* scores = nullptr;  // [batch, heads, num_q_blocks, num_kv_blocks]; kAll reads none
  std::uint8_t* mask = nullptr;  // the same shape, contiguous, 0 or 1
  Strides scores_strides;
  Element element = Element::kFloat32;  // of scores

  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t block_size = 64;
  std::int64_t num_q_blocks = 0;   // ceil(q_len / block_size)
  std::int64_t num_kv_blocks = 0;  // ceil(kv_len / block_size)

  SelectionRule rule = SelectionRule::kAll;
  std::int64_t top_blocks = 0;  // kTopBlocks: in each row, at least 1
  double threshold = 0.0;       // kThreshold: rounded to float32 unless the scores are float64
  double mass = 0.0;            // kMass: in (0, 1]

  std::int64_t sink = 0;        // first blocks of each row, always kept
  std::int64_t local = 0;       // last visible blocks of each row, always kept
  std::int64_t dense_rows = 0;  // last query block rows, which keep every visible block
};

// Key blocks that the first query block sees any of, could it see so many; each further one sees one more, but for the last.
// Negative where there are more queries than keys.
inline std::int64_t visible_of_first(std::int64_t q_len, std::int64_t kv_len,
                                     std::int64_t block_size) {
  const std::int64_t past = kv_len - q_len;
  // Division rounds towards 0, which is up for negative numbers.
  return 1 + (past > 0 ? (past + block_size - 1) / block_size : past / block_size);
}

// A row is a query block of one head. The rows of a head are taken from both ends towards the
// middle (first, last, second, ...), so that equally many positions are about equally much work
// although later rows see more blocks.
struct SelectionRow {
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t q_block = 0;
};

// The row at `position` in [0, batch * heads * num_q_blocks).
inline SelectionRow selection_row(const SelectBlocksParams& params, std::int64_t position) {
  const std::int64_t step = position % params.num_q_blocks;
  const std::int64_t head = position / params.num_q_blocks;
  return {head / params.heads, head % params.heads,
          step % 2 == 0 ? step / 2 : params.num_q_blocks - 1 - step / 2};
}

// A visible score that the rule cannot use: NaN, and for kMass also below 0 or infinite.
struct BadScore {
  std::int64_t position = -1;  // of its row; -1: there is none
  std::int64_t kv_block = 0;
  double value = 0.0;
};

}  // namespace seer
