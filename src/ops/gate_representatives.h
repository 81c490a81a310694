// Between the contract of gate_representatives and its devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/gate_representatives/params.h"

namespace seer {

struct PreparedGateRepresentatives {
  GateRepresentativesParams params;
  at::Tensor reps;               // allocated, not filled
  at::Tensor pooled, map, norm;  // what params points to
};

// Checks the arguments once for all devices and allocates the result beside pooled.
PreparedGateRepresentatives prepare_gate_representatives(const at::Tensor& pooled,
                                                         const std::optional<at::Tensor>& map,
                                                         const std::optional<at::Tensor>& norm,
                                                         const std::optional<at::Tensor>& cos,
                                                         const std::optional<at::Tensor>& sin,
                                                         double eps);

}  // namespace seer
