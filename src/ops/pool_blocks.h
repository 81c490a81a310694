// Between the contract of pool_blocks and its devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "kernels/pool_blocks/params.h"

namespace seer {

struct PreparedPoolBlocks {
  PoolBlocksParams params;
  at::Tensor out;  // allocated, not filled
};

// Checks the arguments once for all devices and allocates the result beside x.
PreparedPoolBlocks prepare_pool_blocks(const at::Tensor& x, std::int64_t block_size,
                                       std::string_view kinds);

}  // namespace seer
