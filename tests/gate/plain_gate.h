// A gate as plain loops in double, written from the formulas alone: the truth of the tests.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "seer/gate.h"

namespace seer::test {

// float64 [batch, q heads, q blocks, key blocks] of q and k (any float type) under the gate's parameters. The last query
// is at the position of the last key.
at::Tensor plain_block_logits(const Gate& gate, const ModelConfig& model, const at::Tensor& q,
                              const at::Tensor& k);

}  // namespace seer::test
