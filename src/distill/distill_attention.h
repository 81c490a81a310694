// Dense attention that trains gates on the way: what the model runs with during distillation.
#pragma once

#include <utility>
#include <vector>

#include "seer/attention.h"
#include "seer/distill.h"
#include "seer/gate.h"
#include "training/gate_example.h"

namespace seer {

// What a pass is for. kLearn: each layer's gate predicts its map, and the gradient of its loss is added to the gate's
// parameters before the next layer runs. kKeep: the examples are kept for later.
struct DistillPass {
  bool learn = true;
  bool keep = false;
};

// Takes a sequence at once.
class DistillAttention final : public Attention {
 public:
  // `weight` multiplies the gradients. `gates` and `options` must outlive the object.
  DistillAttention(const GateSet& gates, const DistillOptions& options, double weight,
                   DistillPass pass);

  // Throws as losses() on the CPU.
  at::Tensor attend(const AttentionCall& call) override;

  // Of each layer, where it learned. Waits for the device. losses() throws std::runtime_error naming the layer where it
  // is not finite.
  std::vector<double> losses() const;
  std::vector<double> recalls() const;
  double weight() const { return weight_; }
  // What was kept, which is then no longer here.
  SequenceExamples take_examples() { return std::move(examples_); }

 private:
  void learn(std::int64_t layer, const GateExample& example);

  const GateSet& gates_;
  const DistillOptions& options_;
  double weight_;
  DistillPass pass_;
  std::vector<at::Tensor> losses_, recalls_;  // float64 numbers on the device
  SequenceExamples examples_;
};

}  // namespace seer
