// Between the contract of gemv and its devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/gemv/params.h"

namespace seer {

struct PreparedGemv {
  GemvParams params;
  at::Tensor out;      // allocated, not filled
  at::Tensor x, bias;  // what params points to
};

// Checks the arguments once for all devices.
void check_gemv(const at::Tensor& x, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias);

// Checks the arguments and allocates the result beside x.
PreparedGemv prepare_gemv(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias);

}  // namespace seer
