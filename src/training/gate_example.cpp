#include "training/gate_example.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "base/ceil_div.h"
#include "training/gate_loss.h"

namespace seer {
namespace {

std::int64_t first_row_of(std::int64_t rows, const GateLossOptions& options) {
  return static_cast<std::int64_t>(options.row_slice * static_cast<double>(rows));
}

}  // namespace

GateExample GateExample::kept() const {
  const auto copy = [](const at::Tensor& x, at::ScalarType dtype) {
    return x.to(dtype, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  };
  const at::ScalarType dtype = q_features.scalar_type();
  return {.map = copy(map, dtype),
          .q_features = copy(q_features, dtype),
          .k_features = copy(k_features, dtype),
          .first_position = first_position,
          .grid = grid};
}

GateExample gate_example(const Gate& gate, const AttentionCall& call, const at::Tensor& block_map,
                         const GateLossOptions& options) {
  const std::int64_t block_size = gate.config().block_size;
  const BlockGrid whole{.q_len = call.q_len(), .kv_len = call.kv_len(), .block_size = block_size};
  const std::int64_t first_row = first_row_of(whole.q_blocks(), options);
  const std::int64_t first = first_row * block_size;
  const BlockGrid grid{
      .q_len = whole.q_len - first, .kv_len = whole.kv_len, .block_size = block_size};
  return {.map = block_map.narrow(2, first_row, whole.q_blocks() - first_row),
          .q_features = gate.query_features(call.q_before_rope.narrow(2, first, grid.q_len), first),
          .k_features = gate.key_features(call.k_before_rope, 0),
          .first_position = first,
          .grid = grid};
}

GatePrediction predict(const Gate& gate, const GateExample& example,
                       const GateLossOptions& options) {
  at::Tensor rows = example.map.to(at::kFloat);
  if (options.target_power != 1) rows = rows.pow(options.target_power);
  GatePrediction prediction;
  prediction.target = rows / rows.sum(-1, /*keepdim=*/true).clamp_min(1e-30);
  prediction.logits = gate.block_logits(
      gate.representatives_of_queries(example.q_features, example.first_position),
      gate.representatives_of_keys(example.k_features, 0), example.grid.q_len, example.grid.kv_len);
  prediction.loss = gate_loss(prediction.logits, prediction.target, options.loss);
  return prediction;
}

double kept_bytes(const GateSet& gates, const GateLossOptions& options, at::ScalarType dtype,
                  std::int64_t length) {
  if (gates.num_layers() == 0) return 0;
  const Gate& gate = gates.layer(0);
  const std::int64_t block_size = gate.config().block_size;
  const auto zeros = [&](std::int64_t heads) {
    return at::zeros({1, heads, block_size, gate.head_dim()}, dtype);
  };
  // All designs' features are those of blocks.
  const std::int64_t q_numbers = gate.query_features(zeros(gate.num_q_heads()), 0).numel();
  const std::int64_t k_numbers = gate.key_features(zeros(gate.num_kv_heads()), 0).numel();
  const std::int64_t blocks = ceil_div(length, block_size);
  const std::int64_t rows = blocks - first_row_of(blocks, options);
  const std::int64_t numbers =
      rows * (gate.num_q_heads() * blocks + q_numbers) + blocks * k_numbers;
  return static_cast<double>(gates.num_layers() * numbers) *
         static_cast<double>(at::elementSize(dtype));
}

}  // namespace seer
