// What share of the true attention a block mask keeps, and what share of the blocks each head keeps.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "seer/attention.h"

namespace seer {

// Watches the layers of a prompt (SparseAttentionOptions::on_mask) and sums up, at chosen query rows, the softmax
// probability that falls into kept blocks; and counts the blocks.
class AttentionRecall {
 public:
  AttentionRecall(std::int64_t num_layers, std::int64_t block_size);

  // `count` random tokens of the last three quarters of a prompt of `length`; the same for all layers and heads.
  void choose_rows(std::int64_t length, std::int64_t count, std::uint64_t seed);
  void choose_rows(std::vector<std::int64_t> rows);
  // block_mask bool [1, heads or 1, query blocks, key blocks]; undefined: everything is kept.
  void observe(const AttentionCall& call, const at::Tensor& block_mask);

  // Mean over rows and heads, of each layer; since choose_rows().
  std::vector<double> layer_recall() const;
  // Kept blocks over visible ones, of each layer and query head; since choose_rows(). Layers without a mask have 1.
  std::vector<std::vector<double>> head_density() const;
  // Spent in observe().
  double seconds() const { return seconds_; }

 private:
  void count_blocks(const AttentionCall& call, const at::Tensor& block_mask);

  std::int64_t block_size_;
  std::vector<std::int64_t> rows_;  // tokens, ascending
  std::vector<double> kept_;        // by layer: sums over rows and heads
  std::vector<double> terms_;       // and how many they are of
  // By layer: kept blocks of each head, int64 [heads], and visible ones.
  std::vector<at::Tensor> kept_blocks_;
  std::vector<std::int64_t> visible_blocks_;
  std::int64_t heads_ = 0;
  double seconds_ = 0;
};

}  // namespace seer
