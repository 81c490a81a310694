#include "finetune/training_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "seer/ops.h"
#include "training/gate_example.h"
#include "training/gate_loss.h"

namespace seer {
namespace {

constexpr double kRecallRatio = 0.1;

}  // namespace

TrainingAttention::TrainingAttention(const ModelConfig& model, const GateSet* gates,
                                     const FinetuneOptions& options)
    : model_(model), gates_(gates), options_(options) {
  masks_.resize(static_cast<std::size_t>(model.num_layers));
}

void TrainingAttention::begin(std::int64_t batch, std::int64_t length, double gate_weight) {
  batch_ = batch;
  length_ = length;
  gate_weight_ = gate_weight;
  while (static_cast<std::int64_t>(sequences_.size()) < batch) {
    sequences_.push_back(std::make_unique<SparseAttention>(
        model_, options_.policy, gates_,
        SparseAttentionOptions{.min_context = 0, .seed = options_.seed}));
  }
  for (const auto& sequence : sequences_) sequence->begin(0, length);
}

at::Tensor TrainingAttention::by_head(const at::Tensor& rows) const {
  return rows.view({batch_, length_, rows.size(1), rows.size(2)}).transpose(1, 2);
}

void TrainingAttention::choose(std::int64_t layer, const Heads& heads) {
  const at::NoGradGuard no_grad;
  // Asking a GPU would wait for it: the gradient's norm tells there.
  if (heads.k.is_cpu() && !std::isfinite(heads.k.to(at::kFloat).sum().item<double>())) {
    throw std::runtime_error(
        fmt::format("layer {}: its keys are not finite: the weights of the model are damaged, or "
                    "the learning rate is too high (--learning-rate)",
                    layer));
  }
  const auto call_of = [&](std::int64_t first, std::int64_t count) {
    const auto of = [&](const at::Tensor& x) { return by_head(x).narrow(0, first, count); };
    return AttentionCall{.layer = layer,
                         .q_before_rope = of(heads.unturned_q),
                         .k_before_rope = of(heads.unturned_k),
                         .q = of(heads.q),
                         .k = of(heads.k),
                         .v = of(heads.v),
                         .q_pools = {},
                         .k_pools = {}};
  };
  std::vector<at::Tensor> masks;
  for (std::int64_t i = 0; i < batch_; ++i) {
    const at::Tensor mask = sequences_[static_cast<std::size_t>(i)]->choose(call_of(i, 1));
    if (mask.defined()) masks.push_back(mask);
  }
  // The gate itself changes after all layers' backward.
  if (gate_weight_ > 0) learn(gates_->layer(layer), call_of(0, batch_));
  at::Tensor& chosen = masks_.at(static_cast<std::size_t>(layer));
  chosen = masks.empty() ? at::Tensor() : masks.size() == 1 ? masks.front() : at::cat(masks);
}

void TrainingAttention::learn(const Gate& gate, const AttentionCall& call) {
  const at::Tensor map =
      std::get<2>(attention_with_block_map(call.q, call.k, call.v, gate.config().block_size));
  const at::AutoGradMode gradients(true);
  const GateExample example = gate_example(gate, call, map, options_.gate_loss);
  const GatePrediction prediction = predict(gate, example, options_.gate_loss);
  // The loss is a mean over the sequences.
  (prediction.loss * (gate_weight_ * static_cast<double>(batch_))).backward();
  losses_.push_back(prediction.loss.detach().to(at::kDouble));
  recalls_.push_back(
      seer::gate_recall(prediction.logits.detach(), prediction.target, example.grid, kRecallRatio));
}

at::Tensor TrainingAttention::attend(std::int64_t layer, const Heads& heads) const {
  const at::Tensor q = by_head(heads.q), k = by_head(heads.k), v = by_head(heads.v);
  const at::Tensor& mask = masks_.at(static_cast<std::size_t>(layer));
  at::Tensor out;
  if (mask.defined()) {
    out = std::get<0>(block_sparse_attention(q, k, v, mask, sequences_.front()->block_size()));
  } else if (options_.attention == AttentionBackend::kSdpa) {
    out = at::scaled_dot_product_attention(q, k, v, /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0,
                                           /*is_causal=*/true, /*scale=*/std::nullopt,
                                           /*enable_gqa=*/q.size(1) != k.size(1));
  } else {
    out = std::get<0>(block_sparse_attention(q, k, v, /*block_mask=*/std::nullopt));
  }
  return out.transpose(1, 2).reshape({batch_ * length_, q.size(1) * q.size(3)});
}

double TrainingAttention::density() const {
  BlockCount all;
  for (const auto& sequence : sequences_) {
    const BlockCount count = sequence->total_count();
    all.kept += count.kept;
    all.visible += count.visible;
  }
  return all.density();
}

at::Tensor TrainingAttention::gate_loss() const {
  if (losses_.empty()) return {};
  const auto batches = static_cast<double>(losses_.size()) / static_cast<double>(model_.num_layers);
  return at::stack(losses_).sum() / batches;
}

at::Tensor TrainingAttention::gate_recall() const {
  return recalls_.empty() ? at::Tensor() : at::stack(recalls_).mean();
}

void TrainingAttention::forget_gates() {
  losses_.clear();
  recalls_.clear();
}

void TrainingAttention::forget_density() {
  for (const auto& sequence : sequences_) sequence->reset_counts();
}

}  // namespace seer
