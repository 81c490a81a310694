#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <string_view>

#include "seer/gate.h"
#include "seer/gate_design.h"

namespace seer {

// A map as the kernel wants it, [heads, width, head_dim * kinds] of the activations' type; made anew when the map changed.
class PreparedMap {
 public:
  at::Tensor of(const at::Tensor& map, at::ScalarType type);

 private:
  std::mutex mutex_;
  at::Tensor prepared_;
  const void* data_ = nullptr;  // of the map it was made from
  std::int64_t version_ = -1;
};

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
  AttentionPooling pooling() const override;
  at::Tensor representatives_of_queries(const at::Tensor& features,
                                        std::int64_t first_position) const override;
  at::Tensor representatives_of_keys(const at::Tensor& features,
                                     std::int64_t first_position) const override;
  at::Tensor select(const at::Tensor& q_reps, const at::Tensor& k_reps, std::string_view policy,
                    const at::Tensor& thresholds, std::int64_t q_len,
                    std::int64_t kv_len) const override;
  void initialise(GateInit init, at::Generator& generator) override;

 private:
  at::Tensor representatives(const at::Tensor& pools, std::int64_t tokens, const at::Tensor& map,
                             PreparedMap& prepared, const at::Tensor& norm,
                             std::int64_t first_position) const;

  // Whether gate_representatives() and select_gate_blocks() (seer/ops.h) compute this: on CUDA, without gradients, where
  // their kernels serve the gate's sizes.
  bool kernels_serve(const at::Tensor& x) const;
  // One launch behind the pooling: bfloat16.
  at::Tensor representatives_by_kernel(const at::Tensor& pooled, std::int64_t tokens,
                                       const at::Tensor& map, PreparedMap& prepared,
                                       const at::Tensor& norm, std::int64_t first_position) const;

  GateDesign design_;
  at::Tensor q_map_, k_map_;    // [heads, head_dim * kinds, width]; undefined: none
  at::Tensor q_norm_, k_norm_;  // [width]; undefined: none
  mutable PreparedMap prepared_q_map_, prepared_k_map_;
};

}  // namespace seer
