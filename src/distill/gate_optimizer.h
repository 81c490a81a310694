// AdamW over the parameters of all gates.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "distill/training_state.h"
#include "seer/distill.h"

namespace seer {

class GateOptimizer {
 public:
  // Trains state.parameters, whose moments it adds to `state`. Both must outlive the object.
  GateOptimizer(TrainingState& state, const DistillOptions& options);

  // Update number `number` (from 0) with the gradients that are there. Clips them first; where their norm is not finite
  // it changes nothing, and nor does any update after it until begin_step(). Returns the sum of squares of each
  // parameter's gradient before clipping, float32 [parameters]. Waits for nothing.
  at::Tensor update(std::int64_t number, double learning_rate);
  void begin_step();
  void forget_gradients();

 private:
  const DistillOptions& options_;
  TrainingState& state_;
  std::vector<at::Tensor> values_;
  at::Tensor is_broken_;  // float32 number: 1 after an update with a norm that is not finite
};

}  // namespace seer
