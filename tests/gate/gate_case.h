// Models and random queries and keys for the tests of gates.
#pragma once

#include <ATen/ops/randn.h>

#include <cstdint>

#include "seer/config.h"

namespace seer::test {

inline ModelConfig small_model(std::int64_t num_q_heads, std::int64_t num_kv_heads,
                               std::int64_t head_dim = 8, std::int64_t num_layers = 2) {
  ModelConfig model;
  model.name = "small";
  model.vocab_size = 64;
  model.hidden_size = num_q_heads * head_dim;
  model.intermediate_size = 2 * model.hidden_size;
  model.num_layers = num_layers;
  model.num_q_heads = num_q_heads;
  model.num_kv_heads = num_kv_heads;
  model.head_dim = head_dim;
  model.max_positions = 4096;
  return model;
}

struct QueriesAndKeys {
  at::Tensor q, k;  // [batch, heads, length, head_dim]; transposed views
};

inline QueriesAndKeys random_input(const ModelConfig& model, std::int64_t batch, std::int64_t q_len,
                                   std::int64_t kv_len) {
  return {.q = at::randn({batch, q_len, model.num_q_heads, model.head_dim}).transpose(1, 2),
          .k = at::randn({batch, kv_len, model.num_kv_heads, model.head_dim}).transpose(1, 2)};
}

}  // namespace seer::test
