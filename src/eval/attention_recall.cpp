#include "eval/attention_recall.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "seer/device.h"
#include "selection/block_scores.h"

namespace seer {

AttentionRecall::AttentionRecall(std::int64_t num_layers, std::int64_t block_size)
    : block_size_(block_size),
      kept_(static_cast<std::size_t>(num_layers)),
      terms_(static_cast<std::size_t>(num_layers)),
      kept_blocks_(static_cast<std::size_t>(num_layers)),
      visible_blocks_(static_cast<std::size_t>(num_layers)) {}

void AttentionRecall::choose_rows(std::int64_t length, std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::int64_t first = length / 4;
  const std::int64_t rows = length - first;
  std::set<std::int64_t> chosen;
  while (static_cast<std::int64_t>(chosen.size()) < std::min(count, rows)) {
    chosen.insert(first + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(rows)));
  }
  choose_rows({chosen.begin(), chosen.end()});
}

void AttentionRecall::choose_rows(std::vector<std::int64_t> rows) {
  rows_ = std::move(rows);
  std::fill(kept_.begin(), kept_.end(), 0.0);
  std::fill(terms_.begin(), terms_.end(), 0.0);
  std::fill(kept_blocks_.begin(), kept_blocks_.end(), at::Tensor());
  std::fill(visible_blocks_.begin(), visible_blocks_.end(), 0);
  seconds_ = 0;
}

void AttentionRecall::observe(const AttentionCall& call, const at::Tensor& block_mask) {
  synchronize(call.q.device());  // what came before is not this one's time
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::int64_t> rows;  // of this call's queries
  for (const std::int64_t row : rows_) {
    if (row >= call.past() && row < call.kv_len()) rows.push_back(row - call.past());
  }
  const auto layer = static_cast<std::size_t>(call.layer);
  const std::int64_t heads = call.q.size(1), kv_heads = call.k.size(1), dim = call.q.size(3);
  const auto count = static_cast<std::int64_t>(rows.size());
  heads_ = heads;
  if (block_mask.defined()) count_blocks(call, block_mask);
  terms_.at(layer) += static_cast<double>(count * heads);
  if (!block_mask.defined()) {
    kept_[layer] += static_cast<double>(count * heads);
  } else if (count > 0) {
    const at::Tensor index = at::tensor(rows, at::kLong).to(call.q.device());
    // [kv_heads, query heads of each * rows, dim] times [kv_heads, dim, keys]
    const at::Tensor q =
        call.q[0].index_select(1, index).to(at::kFloat).reshape({kv_heads, -1, dim});
    at::Tensor scores = at::matmul(q, call.k[0].to(at::kFloat).transpose(1, 2));
    scores =
        scores.mul_(1.0 / std::sqrt(static_cast<double>(dim))).view({heads, count, call.kv_len()});
    const at::Tensor hidden = at::arange(call.kv_len(), index.options())
                                  .unsqueeze(0)
                                  .gt((index + call.past()).unsqueeze(1));
    scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity());
    at::Tensor probability = at::softmax(scores, -1);
    const std::int64_t blocks = block_mask.size(3);
    probability = at::constant_pad_nd(probability, {0, blocks * block_size_ - call.kv_len()})
                      .view({heads, count, blocks, block_size_})
                      .sum(-1);
    const at::Tensor mask =
        block_mask[0].index_select(1, index.div(block_size_, "floor")).to(at::kFloat);
    kept_[layer] += (probability * mask).sum(at::kDouble).item<double>();
  }
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void AttentionRecall::count_blocks(const AttentionCall& call, const at::Tensor& block_mask) {
  const auto layer = static_cast<std::size_t>(call.layer);
  const BlockGrid grid{.q_len = call.q_len(), .kv_len = call.kv_len(), .block_size = block_size_};
  visible_blocks_[layer] += grid.visible();
  const at::Tensor kept = block_mask[0].sum({1, 2}, false, at::kLong).expand({call.q.size(1)});
  at::Tensor& sum = kept_blocks_[layer];
  sum = sum.defined() ? sum + kept : kept;
}

std::vector<std::vector<double>> AttentionRecall::head_density() const {
  std::vector<std::vector<double>> density;
  for (std::size_t layer = 0; layer < kept_blocks_.size(); ++layer) {
    std::vector<double> heads(static_cast<std::size_t>(heads_), 1.0);
    if (kept_blocks_[layer].defined()) {
      const at::Tensor kept = kept_blocks_[layer].cpu().contiguous();
      for (std::size_t head = 0; head < heads.size(); ++head) {
        heads[head] = static_cast<double>(kept.const_data_ptr<std::int64_t>()[head]) /
                      static_cast<double>(visible_blocks_[layer]);
      }
    }
    density.push_back(std::move(heads));
  }
  return density;
}

std::vector<double> AttentionRecall::layer_recall() const {
  std::vector<double> recall;
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    recall.push_back(terms_[i] > 0 ? kept_[i] / terms_[i] : 1.0);
  }
  return recall;
}

}  // namespace seer
