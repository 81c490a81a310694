// A decoder whose weights are trained.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "finetune/flat_weights.h"
#include "finetune/layer_functions.h"
#include "finetune/token_loss.h"
#include "finetune/training_attention.h"
#include "seer/config.h"
#include "seer/rope.h"

namespace seer {

// The weights of a layer; undefined where it has none.
struct TrainedLayer {
  TrainedWeight attention_norm, qkv, qkv_bias, q_norm, k_norm, output, output_bias;
  TrainedWeight mlp_norm, gate_up, gate_up_bias, down, down_bias;
  // Those that there are.
  std::vector<TrainedWeight> all() const;
};

class TrainableDecoder {
 public:
  // `weights` must outlive the object.
  TrainableDecoder(const ModelConfig& config, const FlatWeights& weights, c10::Device device);

  // tokens int64 [batch, length] on the device. Hidden states behind the final norm, [batch * length, hidden_size].
  // Without gradients; attention.begin() was called.
  at::Tensor forward(const at::Tensor& tokens, TrainingAttention& attention) const;
  // Sum of -log p of the tokens that follow each other, float64.
  at::Tensor loss(const at::Tensor& tokens, TrainingAttention& attention) const;
  // The same, and adds `scale` times its gradients to those of the weights. With `recompute` a layer's input is all that
  // is kept of it until its gradient is wanted.
  at::Tensor learn(const at::Tensor& tokens, TrainingAttention& attention, double scale,
                   bool recompute) const;

  // float32 [..., vocab_size] of hidden states.
  at::Tensor logits(const at::Tensor& hidden) const;

 private:
  enum class Blocks { kChosenNow, kChosenBefore };
  // Of a batch with `batch` sequences of this length.
  RopeTable table(std::int64_t batch, std::int64_t length) const;
  at::Tensor run_layer(std::int64_t index, const at::Tensor& hidden, const RopeTable& table,
                       TrainingAttention& attention, Blocks blocks) const;

  const ModelConfig& config_;
  HeadLayout layout_;
  Rope rope_;
  TrainedWeight embedding_, final_norm_, output_;  // output_ is embedding_ where they are tied
  std::vector<TrainedLayer> layers_;
};

}  // namespace seer
