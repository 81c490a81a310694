#include "seer/sparse_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>

#include <chrono>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include "attention/dense_attention.h"
#include "attention/key_representatives.h"
#include "base/selection_policy.h"
#include "seer/ops.h"
#include "selection/block_selector.h"
#include "selection/flexprefill.h"
#include "selection/minference.h"
#include "selection/quest.h"
#include "selection/xattention.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the time it lives to a sum of seconds.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

// Mean pooling as a gate without weights.
GateSet meanpool_gates(const ModelConfig& model, std::int64_t block_size) {
  GateConfig config = default_gate_config("Qavg_Kavg", model, block_size);
  config.project_queries = config.project_keys = false;
  config.key_heads = KeyHeads::kKv;
  return GateSet(config, model);
}

}  // namespace

Attention::~Attention() = default;
bool Attention::wants_whole_prompt() const {
  return false;
}
void Attention::begin(std::int64_t /*past*/, std::int64_t /*length*/) {}
AttentionPooling Attention::pooling(std::int64_t /*layer*/, std::int64_t /*past*/) const {
  return {};
}

struct SparseAttention::Impl {
  SelectionPolicy policy;
  SparseAttentionOptions options;
  std::optional<GateSet> own_gates;  // of meanpool
  const GateSet* gates = nullptr;
  std::optional<BlockSelector> selector;
  std::vector<KeyRepresentatives> keys;  // by layer, where gates score
  std::int64_t num_layers;
  std::int64_t prompt_length = 0;
  mutable std::vector<BlockCount> counts;
  // What is kept in each layer besides: int64 on the GPU that counts it. Added to `counts` when they are asked for, so that
  // no layer waits for the device.
  mutable std::vector<at::Tensor> uncounted;
  double selection_seconds = 0, attention_seconds = 0;

  Impl(const ModelConfig& model, std::string_view text, const GateSet* given,
       SparseAttentionOptions given_options)
      : policy(SelectionPolicy::parse(text)),
        options(std::move(given_options)),
        num_layers(model.num_layers),
        counts(static_cast<std::size_t>(model.num_layers)),
        uncounted(counts.size()) {
    if (options.min_context < 0) {
      throw std::invalid_argument("min context " + std::to_string(options.min_context) +
                                  ": expected 0 or more tokens");
    }
    if (policy.start_layer > num_layers) {
      throw std::invalid_argument(
          "policy '" + policy.to_string() + "': start_layer=" + std::to_string(policy.start_layer) +
          ": expected at most " + std::to_string(num_layers) + ", the layers of the model");
    }
    const CalibrationTable* calibration = nullptr;
    if (policy.source == PolicySource::kGate) {
      if (given == nullptr) {
        throw std::invalid_argument("policy '" + policy.to_string() +
                                    "': needs gates; name an adapter's folder with --gates");
      }
      if (given->num_layers() != num_layers) {
        throw std::invalid_argument("gates: expected those of " + std::to_string(num_layers) +
                                    " layers (as the model), got " +
                                    std::to_string(given->num_layers()));
      }
      gates = given;
      calibration = &given->config().calibration;
    }
    if (policy.source == PolicySource::kXattention && options.block_size % policy.stride != 0) {
      throw std::invalid_argument(
          "policy '" + policy.to_string() + "': stride=" + std::to_string(policy.stride) +
          ": expected a divisor of the block size, " + std::to_string(options.block_size));
    }
    if (policy.source == PolicySource::kMeanpool) {
      own_gates.emplace(meanpool_gates(model, options.block_size));
      gates = &*own_gates;
    }
    if (gates != nullptr) {
      options.block_size = gates->config().block_size;
      keys.resize(static_cast<std::size_t>(num_layers));
    }
    if (policy.source != PolicySource::kDense) selector.emplace(policy, calibration);
  }

  bool is_too_short() const {
    return policy.source != PolicySource::kDense && prompt_length < options.min_context;
  }

  // Of a prompt's tokens from a block's first on: the gate's features.
  AttentionPooling pooling(std::int64_t layer, std::int64_t past) const {
    if (gates == nullptr || layer < policy.start_layer || past >= prompt_length || is_too_short() ||
        past % options.block_size != 0)
      return {};
    return gates->layer(layer).pooling();
  }

  // float32 [1, heads, q blocks, kv blocks]; a map of a pair that is not visible is never looked at.
  at::Tensor scores(const AttentionCall& call, const BlockGrid& grid) {
    switch (policy.source) {
      case PolicySource::kDense: break;
      case PolicySource::kStreaming: return streaming_scores(grid, call.q.device());
      case PolicySource::kRandom:
        return random_scores(grid, options.seed, call.layer, call.q.size(1)).to(call.q.device());
      case PolicySource::kOracle: {
        const at::Tensor map =
            std::get<2>(attention_with_block_map(call.q, call.k, call.v, grid.block_size));
        return selector->needs_probabilities()
                   ? map / map.sum(-1, /*keepdim=*/true).clamp_min(1e-30)
                   : map;
      }
      case PolicySource::kGate:
      case PolicySource::kMeanpool: {
        const auto [q_reps, k_reps] = representatives(call);
        const at::Tensor logits =
            gates->layer(call.layer).block_logits(q_reps, k_reps, grid.q_len, grid.kv_len);
        return selector->needs_probabilities() ? at::softmax(logits, -1) : logits;
      }
      case PolicySource::kQuest: {
        const at::Tensor bounds = quest_scores(call.q, call.k, grid);
        if (!selector->needs_probabilities()) return bounds;
        // Bounds lie far apart: probabilities would be 0 where their logarithms still tell an order.
        return at::log_softmax(bounds.masked_fill(grid.visible_mask(bounds.device()).logical_not(),
                                                  -std::numeric_limits<float>::infinity()),
                               -1);
      }
      case PolicySource::kXattention:
        return xattention_probabilities(call.q, call.k, grid, policy.stride);
      case PolicySource::kMinference: return minference_scores(call.q, call.k, grid, policy.last);
      case PolicySource::kFlexprefill: return flexprefill_scores(call.q, call.k, grid, policy.tau);
    }
    throw std::logic_error("SparseAttention: a dense policy has no scores");
  }

  // Of the queries of a call and of all keys.
  std::pair<at::Tensor, at::Tensor> representatives(const AttentionCall& call) {
    const Gate& gate = gates->layer(call.layer);
    return {call.q_pools.defined() ? gate.representatives_of_queries(call.q_pools, call.past())
                                   : gate.query_representatives(call.q_before_rope, call.past()),
            keys[static_cast<std::size_t>(call.layer)].all(gate)};
  }

  // bool [1, heads or 1, q blocks, kv blocks]
  at::Tensor mask_of(const AttentionCall& call, const BlockGrid& grid) {
    if (scores_whole_heads(policy.source)) expect_whole_prompt(call);
    if (policy.source == PolicySource::kFlexprefill && policy.rule == PolicyRule::kMass) {
      const at::Tensor mask =
          flexprefill_mask(call.q, call.k, grid, policy.tau, policy.value, policy.min_budget);
      return selector->with_kept(mask, grid, prompt_length);
    }
    if (gates == nullptr || !selector->has_gate_rule())
      return selector->select(scores(call, grid), grid, prompt_length, call.layer);
    const auto [q_reps, k_reps] = representatives(call);
    const BlockSelector::Rule rule =
        selector->gate_rule(grid, prompt_length, call.layer, call.q.size(1), q_reps.device());
    return gates->layer(call.layer)
        .select(q_reps, k_reps, rule.policy, rule.thresholds, grid.q_len, grid.kv_len);
  }

  void expect_whole_prompt(const AttentionCall& call) const {
    if (call.kv_len() == prompt_length) return;
    throw std::invalid_argument(
        "policy '" + policy.to_string() + "': " + std::string(policy_source_name(policy.source)) +
        " looks at the prompt's last queries and needs the whole prompt at once; got its tokens " +
        std::to_string(call.past()) + " to " + std::to_string(call.kv_len()) + " of " +
        std::to_string(prompt_length));
  }

  // Adds a mask's blocks, each of which stands for `same` heads, to its layer's count.
  void count_kept(std::int64_t layer, const at::Tensor& mask, std::int64_t same) {
    const auto index = static_cast<std::size_t>(layer);
    const at::Tensor kept = count_blocks(mask) * same;
    if (kept.is_cpu()) {
      counts.at(index).kept += kept.item<std::int64_t>();
    } else if (uncounted.at(index).defined()) {
      uncounted[index] = uncounted[index] + kept;
    } else {
      uncounted[index] = kept;
    }
  }

  const std::vector<BlockCount>& all_counts() const {
    for (std::size_t layer = 0; layer < uncounted.size(); ++layer) {
      if (!uncounted[layer].defined()) continue;
      counts[layer].kept += uncounted[layer].item<std::int64_t>();
      uncounted[layer] = at::Tensor();
    }
    return counts;
  }

  BlockGrid grid_of(const AttentionCall& call) const {
    return {.q_len = call.q_len(), .kv_len = call.kv_len(), .block_size = options.block_size};
  }

  at::Tensor choose(const AttentionCall& call) {
    const BlockGrid grid = grid_of(call);
    const bool is_prompt = call.past() < prompt_length;
    const bool is_sparse_layer =
        policy.source != PolicySource::kDense && call.layer >= policy.start_layer;
    if (is_sparse_layer && gates != nullptr) {
      const Stopwatch watch(selection_seconds);
      keys[static_cast<std::size_t>(call.layer)].append(call.k_before_rope, call.k_pools,
                                                        gates->layer(call.layer));
    }
    if (!is_prompt) return {};
    BlockCount& count = counts.at(static_cast<std::size_t>(call.layer));
    const std::int64_t visible = grid.visible() * call.q.size(1);
    count.visible += visible;
    at::Tensor mask;
    if (is_sparse_layer && !is_too_short()) {
      const Stopwatch watch(selection_seconds);
      mask = mask_of(call, grid);
      count_kept(call.layer, mask, call.q.size(1) / mask.size(1));
    } else {
      count.kept += visible;
    }
    if (options.on_mask) options.on_mask(call, mask);
    return mask;
  }

  at::Tensor attend(const AttentionCall& call) {
    const at::Tensor mask = choose(call);
    const Stopwatch watch(attention_seconds);
    if (!mask.defined()) return dense_attention(call.q, call.k, call.v, AttentionBackend::kSeer);
    return std::get<0>(block_sparse_attention(call.q, call.k, call.v, mask, options.block_size));
  }
};

SparseAttention::SparseAttention(const ModelConfig& model, std::string_view policy,
                                 const GateSet* gates, SparseAttentionOptions options)
    : impl_(std::make_unique<Impl>(model, policy, gates, std::move(options))) {}
SparseAttention::~SparseAttention() = default;

void SparseAttention::begin(std::int64_t past, std::int64_t length) {
  for (std::size_t layer = 0; layer < impl_->keys.size(); ++layer) {
    // Layers before start_layer keep no keys.
    if (static_cast<std::int64_t>(layer) < impl_->policy.start_layer) continue;
    impl_->keys[layer].truncate(past, impl_->gates->layer(static_cast<std::int64_t>(layer)));
  }
  impl_->prompt_length = length;
}

std::int64_t SparseAttention::past_multiple() const {
  return impl_->options.block_size;
}

bool SparseAttention::wants_whole_prompt() const {
  return scores_whole_heads(impl_->policy.source);
}

AttentionPooling SparseAttention::pooling(std::int64_t layer, std::int64_t past) const {
  return impl_->pooling(layer, past);
}

at::Tensor SparseAttention::attend(const AttentionCall& call) {
  return impl_->attend(call);
}

at::Tensor SparseAttention::choose(const AttentionCall& call) {
  return impl_->choose(call);
}

std::int64_t SparseAttention::block_size() const {
  return impl_->options.block_size;
}

std::string SparseAttention::policy() const {
  return impl_->policy.to_string();
}

bool SparseAttention::is_too_short() const {
  return impl_->is_too_short();
}

const std::vector<BlockCount>& SparseAttention::counts() const {
  return impl_->all_counts();
}

BlockCount SparseAttention::total_count() const {
  BlockCount total;
  for (const BlockCount& count : impl_->all_counts()) {
    total.kept += count.kept;
    total.visible += count.visible;
  }
  return total;
}

void SparseAttention::reset_counts() {
  impl_->counts.assign(impl_->counts.size(), BlockCount());
  impl_->uncounted.assign(impl_->uncounted.size(), at::Tensor());
  impl_->selection_seconds = impl_->attention_seconds = 0;
}

double SparseAttention::selection_seconds() const {
  return impl_->selection_seconds;
}

double SparseAttention::attention_seconds() const {
  return impl_->attention_seconds;
}

}  // namespace seer
