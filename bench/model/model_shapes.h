// The shapes of published models, for measurements with random weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "seer/config.h"

namespace seer::bench {

// Sizes, heads and RoPE as in the model's config.json. Throws std::invalid_argument that lists the names.
ModelConfig model_shape(std::string_view name);
std::vector<std::string> model_shape_names();

}  // namespace seer::bench
