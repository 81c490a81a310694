// config.json of published adapters: that of the base model, with the gates' settings in keys of its own.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "seer/config.h"
#include "seer/gate_config.h"

namespace seer {

// The settings; keys that are absent have the published defaults. Throws std::runtime_error naming `source`, field and
// value: a value that is not accepted, or a size in which `model` is another one than the file describes.
GateConfig read_published_config(const Json& json, GateKind kind, const ModelConfig& model,
                                 const std::string& source);

// `base` (the base model's config.json, or that of a published adapter) with the gates' settings. Throws
// std::runtime_error naming `source` and the setting that the published format has no word for.
nlohmann::ordered_json published_config_json(const GateConfig& config, const Json& base,
                                             const std::string& source);

}  // namespace seer
