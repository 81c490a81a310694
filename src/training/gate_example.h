// What one layer's gate learns from one sequence.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "seer/attention.h"
#include "seer/gate.h"
#include "seer/gate_loss.h"
#include "selection/block_scores.h"

namespace seer {

// The rows of the map that count: those from `first_position` on, with all columns.
struct GateExample {
  at::Tensor map;  // the teacher's, [1, heads, rows, kv_blocks]
  at::Tensor q_features,
      k_features;  // Gate::query_features() of these rows, key_features() of all keys
  std::int64_t first_position = 0;  // of the first row's first query
  BlockGrid grid;                   // of the rows

  // A copy that outlives the pass it is from, with the map in the dtype of the features.
  GateExample kept() const;
};

// `block_map`: of the whole call, as attention_with_block_map returns it.
GateExample gate_example(const Gate& gate, const AttentionCall& call, const at::Tensor& block_map,
                         const GateLossOptions& options);

struct GatePrediction {
  at::Tensor logits, target;  // [1, heads, rows, kv_blocks]
  at::Tensor loss;            // a number to start backward from
};
GatePrediction predict(const Gate& gate, const GateExample& example,
                       const GateLossOptions& options);

// One sequence, all layers.
using SequenceExamples = std::vector<GateExample>;

// Bytes that a sequence of `length` tokens takes while it is kept, where the model's activations have this dtype.
double kept_bytes(const GateSet& gates, const GateLossOptions& options, at::ScalarType dtype,
                  std::int64_t length);

}  // namespace seer
