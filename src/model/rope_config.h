#pragma once

#include "base/config_fields.h"
#include "seer/config.h"

namespace seer {

// The rotary embedding that a config.json describes: rope_theta and rope_scaling, or rope_parameters. Parameters mean
// what they mean to the functions of transformers' ROPE_INIT_FUNCTIONS.
RopeConfig read_rope_config(const ConfigFields& config, std::int64_t max_positions);

}  // namespace seer
