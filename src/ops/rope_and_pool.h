// Between the contract of rope_and_pool and its devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "kernels/rope_and_pool/params.h"

namespace seer {

struct PreparedRopeAndPool {
  RopeAndPoolParams params;
  at::Tensor pooled;  // allocated, not filled
};

// Checks the arguments once for all devices and allocates the result beside x.
PreparedRopeAndPool prepare_rope_and_pool(const at::Tensor& x, const at::Tensor& cos,
                                          const at::Tensor& sin, const at::Tensor& out,
                                          std::int64_t block_size, std::string_view kinds);

}  // namespace seer
