// How the layers attend in training: with the blocks that the policy chooses, forward and backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "finetune/layer_functions.h"
#include "seer/attention.h"
#include "seer/config.h"
#include "seer/finetune.h"
#include "seer/gate.h"
#include "seer/sparse_attention.h"

namespace seer {

// Of sequences that run together: [batch * length] rows, sequence by sequence.
class TrainingAttention {
 public:
  // `gates` may be null for policies without; all must outlive the object.
  TrainingAttention(const ModelConfig& model, const GateSet* gates, const FinetuneOptions& options);

  // `gate_weight`: what the gradient of a layer's gate loss is multiplied by; 0: gates do not learn.
  void begin(std::int64_t batch, std::int64_t length, double gate_weight);
  // Chooses the blocks of a layer, which are kept until begin(); the layer's gate learns. Without gradients. `heads` has
  // all its tensors.
  void choose(std::int64_t layer, const Heads& heads);
  // [rows, heads * head_dim], over the blocks chosen, with gradients where q, k and v have them.
  at::Tensor attend(std::int64_t layer, const Heads& heads) const;

  // Since forget(). On a GPU asking waits.
  double density() const;
  // Sums over layers and means over sequences: float64 numbers on the device; undefined where gates did not learn.
  at::Tensor gate_loss() const;
  at::Tensor gate_recall() const;  // mean over layers
  void forget_gates();             // losses and recalls
  void forget_density();

 private:
  // [batch, heads, length, head_dim]
  at::Tensor by_head(const at::Tensor& rows) const;
  // `call` has all sequences of the batch.
  void learn(const Gate& gate, const AttentionCall& call);

  const ModelConfig& model_;
  const GateSet* gates_;
  const FinetuneOptions& options_;
  std::int64_t batch_ = 1, length_ = 0;
  double gate_weight_ = 0;
  std::vector<std::unique_ptr<SparseAttention>> sequences_;
  std::vector<at::Tensor> masks_;  // by layer; undefined: dense
  std::vector<at::Tensor> losses_, recalls_;
};

}  // namespace seer
