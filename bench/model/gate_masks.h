// Block masks that gates choose on a model's own prompt.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/model/model_source.h"

namespace seer::bench {

// Runs the prompt under the policy and takes the masks of all layers and heads in turn, the first layer's first, until
// there are `heads` of them; again from the start where the model has fewer. Returns bool [1, heads, query blocks, key
// blocks] on the model's device.
at::Tensor gate_masks(const ModelSource& source, const std::string& policy,
                      const std::vector<TokenId>& tokens, std::int64_t heads);

}  // namespace seer::bench
