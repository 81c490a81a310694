// What read_model_config does to the files' content. No LibTorch here: this is what the fuzz target runs.
#pragma once

#include <string>

#include "base/json.h"
#include "seer/config.h"

namespace seer {

// The configuration in a config.json. Throws std::runtime_error "<source>: <field> is <value>: ...".
ModelConfig parse_model_config(const Json& json, const std::string& source);

// Takes the special tokens that a generation_config.json names into `config`.
void apply_generation_config(const Json& json, const std::string& source, ModelConfig& config);

}  // namespace seer
