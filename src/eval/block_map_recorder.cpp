#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "seer/ops.h"
#include "seer/report.h"
#include "seer/score.h"
#include "seer/sparse_attention.h"

namespace seer {
namespace {

// Blocks at the end of a row that any policy for recent tokens keeps.
constexpr std::int64_t kNearBlocks = 3;

// Of each head, the share of the rows' sums that lies beyond the first block and the last kNearBlocks of a row; map
// [heads, blocks, blocks] with rows that sum to 1. The first quarter of the rows has nowhere far to look.
at::Tensor far_share(const at::Tensor& map) {
  const std::int64_t blocks = map.size(1);
  if (blocks <= kNearBlocks) return at::zeros({map.size(0)}, map.options());
  at::Tensor far = map.tril(-kNearBlocks).clone();
  far.select(2, 0).zero_();
  return far.slice(1, blocks / 4).sum(-1).mean(-1);
}

class Recorder {
 public:
  Recorder(const ModelConfig& model, const GateSet* gates, const BlockMapOptions& options,
           std::int64_t block_size)
      : gates_(gates), options_(options), block_size_(block_size) {
    for (const auto& [layer, head] : options.heads) {
      if (layer < 0 || layer >= model.num_layers || head < 0 || head >= model.num_q_heads) {
        throw std::invalid_argument(
            fmt::format("head {}:{}: expected LAYER:HEAD with layers 0 to {} and heads 0 to {}",
                        layer, head, model.num_layers - 1, model.num_q_heads - 1));
      }
    }
  }

  void observe(const AttentionCall& call, const at::Tensor& mask) {
    std::vector<std::int64_t> heads;
    for (const auto& [layer, head] : options_.heads) {
      if (layer == call.layer) heads.push_back(head);
    }
    if (!options_.heads.empty() && heads.empty()) return;
    at::Tensor truth =
        std::get<2>(attention_with_block_map(call.q, call.k, call.v, block_size_))[0];
    truth = truth / truth.sum(-1, /*keepdim=*/true).clamp_min(1e-30);
    at::Tensor far;
    if (options_.heads.empty()) {
      far = far_share(truth);
      heads = {far.argmax().item<std::int64_t>()};
    }
    at::Tensor predicted;
    if (gates_ != nullptr) {
      const Gate& gate = gates_->layer(call.layer);
      predicted = at::softmax(gate.block_logits(gate.query_representatives(call.q_before_rope, 0),
                                                gate.key_representatives(call.k_before_rope, 0),
                                                call.q_len(), call.kv_len()),
                              -1)[0];
    }
    for (const std::int64_t head : heads) {
      BlockMaps maps;
      maps.layer = call.layer;
      maps.head = head;
      maps.block_size = block_size_;
      maps.tokens = call.kv_len();
      // Copies: the layer's maps are let go.
      const auto copy = [](const at::Tensor& map) { return map.clone().cpu(); };
      maps.truth = copy(truth[head]);
      if (predicted.defined()) maps.predicted = copy(predicted[head]);
      maps.mask = mask.defined() ? copy(mask[0][mask.size(1) == 1 ? 0 : head])
                                 : at::ones_like(maps.truth, at::kBool).tril();
      const double rows = static_cast<double>(maps.truth.size(0));
      maps.density =
          static_cast<double>(maps.mask.sum().item<std::int64_t>()) / (rows * (rows + 1) / 2);
      maps.kept_share =
          (maps.truth * maps.mask).sum().item<double>() / maps.truth.sum().item<double>();
      far_.push_back(far.defined() ? far[head].item<double>() : 0);
      maps_.push_back(std::move(maps));
    }
  }

  // In the order of layers and heads; of heads that were not asked for the furthest-looking ones.
  std::vector<BlockMaps> take() {
    std::vector<std::size_t> order(maps_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (options_.heads.empty()) {
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return far_[a] > far_[b]; });
      order.resize(std::min(order.size(),
                            static_cast<std::size_t>(std::max<std::int64_t>(0, options_.count))));
    }
    std::sort(order.begin(), order.end());
    std::vector<BlockMaps> chosen;
    for (const std::size_t i : order) chosen.push_back(std::move(maps_[i]));
    return chosen;
  }

 private:
  const GateSet* gates_;
  const BlockMapOptions& options_;
  std::int64_t block_size_;
  std::vector<BlockMaps> maps_;
  std::vector<double> far_;
};

}  // namespace

std::vector<BlockMaps> record_block_maps(const Model& model, const GateSet* gates,
                                         const std::vector<TokenId>& tokens,
                                         const BlockMapOptions& options) {
  const std::int64_t block_size =
      gates != nullptr ? gates->config().block_size : options.block_size;
  Recorder recorder(model.config(), gates, options, block_size);
  SparseAttentionOptions sparse;
  sparse.block_size = block_size;
  sparse.min_context = 0;
  sparse.on_mask = [&](const AttentionCall& call, const at::Tensor& mask) {
    recorder.observe(call, mask);
  };
  SparseAttention attention(model.config(), options.policy, gates, sparse);
  ScoreOptions score;
  // Maps of the whole prompt come from one call.
  score.prefill_chunk = static_cast<std::int64_t>(tokens.size());
  score.attention = &attention;
  score.likelihood = false;
  score_tokens(model, tokens, score);
  std::vector<BlockMaps> maps = recorder.take();
  for (BlockMaps& map : maps) map.policy = attention.policy();
  return maps;
}

}  // namespace seer
