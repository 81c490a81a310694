// Dense attention that trains gates on the way: what the model runs with during distillation.
#pragma once

#include <vector>

#include "seer/attention.h"
#include "seer/distill.h"
#include "seer/gate.h"

namespace seer {

// Takes a sequence at once. Each layer's attention also gives the teacher's map; the layer's gate predicts it, and the
// gradient of its loss is added to the gate's parameters before the next layer runs, so that nothing of a layer is kept.
class DistillAttention final : public Attention {
 public:
  // `weight` multiplies the gradients. `gates` must outlive the object.
  DistillAttention(const GateSet& gates, const DistillOptions& options, double weight);

  // Throws as losses() on the CPU.
  at::Tensor attend(const AttentionCall& call) override;

  // Of each layer. Waits for the device. losses() throws std::runtime_error naming the layer where it is not finite.
  std::vector<double> losses() const;
  std::vector<double> recalls() const;

 private:
  void learn(const AttentionCall& call, const at::Tensor& block_map);

  const GateSet& gates_;
  const DistillOptions& options_;
  double weight_;
  std::vector<at::Tensor> losses_, recalls_;  // float64 numbers on the device
};

}  // namespace seer
