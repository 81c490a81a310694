// Between the contracts of gate_block_logits and select_gate_blocks and their devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/gate_scores/params.h"

namespace seer {

// What both operators are asked.
struct GateScoresCall {
  const at::Tensor& q_reps;
  const at::Tensor& k_reps;
  std::int64_t q_len, kv_len, block_size, q_tokens, k_tokens;
  double scale;
};

struct PreparedGateBlockLogits {
  GateScoresParams params;
  at::Tensor logits;  // allocated, not filled
};

struct PreparedSelectGateBlocks {
  SelectGateBlocksParams params;
  at::Tensor mask;        // allocated, not filled
  at::Tensor thresholds;  // what params points to
};

// Check the arguments once for all devices and allocate the result beside q_reps.
PreparedGateBlockLogits prepare_gate_block_logits(const GateScoresCall& call);
PreparedSelectGateBlocks prepare_select_gate_blocks(const GateScoresCall& call,
                                                    std::string_view policy,
                                                    const std::optional<at::Tensor>& thresholds);

}  // namespace seer
