// AdamW over tensors that are trained together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "training/training_state.h"

namespace seer {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip_norm = 1.0;  // of the gradient of all tensors together; 0: none
};

// Tensors and the decay of their weights.
struct ParameterGroup {
  std::vector<TrainedTensor> tensors;
  double weight_decay = 0;
};

// The sum of squares of each, float64 [tensors]; undefined for none.
at::Tensor squares_of(const std::vector<at::Tensor>& tensors);

class AdamW {
 public:
  // Tensors are trained in place.
  AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options);

  // Update number `number` (from 0). `gradients`: one for each tensor, group by group; they are clipped in place. Where
  // their norm is not finite nothing changes, and nor does it in any update after that until begin(). Returns the sum of
  // squares of each gradient before clipping, float64 [tensors]. Waits for nothing.
  at::Tensor update(const std::vector<at::Tensor>& gradients, std::int64_t number,
                    double learning_rate);
  // The same where the tensors are parts of those that are clipped together, whose squares_of() is given.
  void update(const std::vector<at::Tensor>& gradients, const at::Tensor& squares,
              std::int64_t number, double learning_rate);
  void begin() { is_broken_ = at::Tensor(); }

 private:
  std::vector<ParameterGroup> groups_;
  AdamWOptions options_;
  at::Tensor is_broken_;  // float32 number: 1 after an update with a norm that is not finite
};

}  // namespace seer
