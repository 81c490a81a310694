#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "seer/gate.h"
#include "seer/gate_design.h"
#include "seer/rope.h"

namespace seer {

// The published designs and those with finer representatives: pool, map, normalise, turn.
class PooledGate : public Gate {
 public:
  // `config` has passed check_gate_config.
  PooledGate(const GateDesign& design, const GateConfig& config, const ModelConfig& model);

  at::Tensor query_representatives(const at::Tensor& q, std::int64_t first_position) const override;
  at::Tensor key_representatives(const at::Tensor& k, std::int64_t first_position) const override;
  // Pools: [b, heads, representatives, d * kinds].
  at::Tensor query_features(const at::Tensor& q, std::int64_t first_position) const override;
  at::Tensor key_features(const at::Tensor& k, std::int64_t first_position) const override;
  at::Tensor representatives_of_queries(const at::Tensor& features,
                                        std::int64_t first_position) const override;
  at::Tensor representatives_of_keys(const at::Tensor& features,
                                     std::int64_t first_position) const override;
  void initialise(GateInit init, at::Generator& generator) override;

 private:
  at::Tensor representatives(const at::Tensor& pools, std::int64_t tokens, const at::Tensor& map,
                             const at::Tensor& norm, std::int64_t first_position) const;
  at::Tensor turn(const at::Tensor& reps, std::int64_t first_position, std::int64_t tokens) const;

  GateDesign design_;
  at::Tensor q_map_, k_map_;    // [heads, head_dim * kinds, width]; undefined: none
  at::Tensor q_norm_, k_norm_;  // [width]; undefined: none
  // The model's, for the gate's width, where it was needed last: a copy at each call would wait for a GPU.
  mutable Rope rope_;
};

}  // namespace seer
