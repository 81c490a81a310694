#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "seer/gate_config.h"

namespace seer {

// The gates of SeerAttention-R, which score key blocks for one token.
struct DecodeDesign {
  std::string query;  // Qproj, Qavgproj or Qavg: how the queries of a group of heads become one
  GatePooling k;      // over the block

  // "<query>_K<kinds>"; throws std::invalid_argument.
  static DecodeDesign parse(std::string_view text);
};

// Names and shapes of the tensors of one layer.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> decode_gate_tensors(
    const GateConfig& config, const ModelConfig& model);

}  // namespace seer
