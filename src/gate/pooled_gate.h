#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "seer/gate.h"
#include "seer/gate_design.h"

namespace seer {

// The published designs and those with finer representatives: pool, map, normalise, turn.
class PooledGate : public Gate {
 public:
  // `config` has passed check_gate_config.
  PooledGate(const GateDesign& design, const GateConfig& config, const ModelConfig& model);

  at::Tensor query_representatives(const at::Tensor& q, std::int64_t first_position) const override;
  at::Tensor key_representatives(const at::Tensor& k, std::int64_t first_position) const override;
  void initialise(GateInit init, at::Generator& generator) override;

 private:
  at::Tensor representatives(const at::Tensor& x, const GatePooling& pooling, std::int64_t tokens,
                             const at::Tensor& map, const at::Tensor& norm,
                             std::int64_t first_position) const;

  GateDesign design_;
  at::Tensor q_map_, k_map_;    // [heads, head_dim * kinds, width]; undefined: none
  at::Tensor q_norm_, k_norm_;  // [width]; undefined: none
};

}  // namespace seer
