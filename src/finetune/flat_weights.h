// The weights of a model in training: float32 master weights, their gradients, and the copy that the layers compute with,
// each behind each other in one tensor.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights.h"
#include "seer/config.h"

namespace seer {

// A weight of a layer: one tensor of the file, or several that read the same input, below each other.
struct TrainedWeight {
  at::Tensor value;     // of the computing dtype: a leaf that requires a gradient
  at::Tensor gradient;  // float32, of its shape: a part of FlatWeights::gradients()
};

class FlatWeights {
 public:
  // Loads every tensor of `config` from `source`. `options`: dtype and device that the layers compute with.
  FlatWeights(const ModelConfig& config, const WeightSource& source,
              const at::TensorOptions& options);

  // Matrices first, then vectors (norms and biases), of which no decay is wanted: float32 [count of each].
  at::Tensor matrices() const { return values_.narrow(0, 0, num_matrix_values_); }
  at::Tensor vectors() const;
  at::Tensor matrix_gradients() const { return gradients_.narrow(0, 0, num_matrix_values_); }
  at::Tensor vector_gradients() const;
  at::Tensor gradients() const { return gradients_; }  // of both
  std::int64_t count() const { return values_.numel(); }

  // A tensor by the name in the file; several that lie behind each other as one. Undefined where none of them exists.
  TrainedWeight weight(const std::vector<std::string>& names) const;

  // What is stored of each: a part of the computing copy, in the order of the file.
  struct Named {
    std::string name;
    at::Tensor value;
  };
  std::vector<Named> named() const;

  void forget_gradients() const { gradients_.zero_(); }
  // After the master weights changed.
  void update_copy() const;

 private:
  struct Place {
    std::int64_t first;
    std::vector<std::int64_t> shape;
  };

  std::vector<std::string> order_;       // of the file
  std::map<std::string, Place> places_;  // by name
  std::int64_t num_matrix_values_ = 0;
  at::Tensor values_, gradients_, copy_;  // copy_ is values_ where the layers compute in float32
};

}  // namespace seer
