// What the keys of count_blocks share.
#pragma once

#include <ATen/core/Tensor.h>

namespace seer {

// Checks the argument; the result, not yet written.
at::Tensor prepare_count_blocks(const at::Tensor& block_mask);

}  // namespace seer
