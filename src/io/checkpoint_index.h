#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/json.h"

namespace seer {

// Tensor -> the file that holds it.
using WeightMap = std::map<std::string, std::string, std::less<>>;

// The weight_map of a model.safetensors.index.json. Files are names in the index's own folder: anything that could
// lead out of it is refused. Throws std::runtime_error "<source>: ...".
WeightMap parse_checkpoint_index(const Json& index, const std::string& source);

}  // namespace seer
