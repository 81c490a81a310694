#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <vector>

#include "seer/calibrate.h"

namespace seer::cli {

// Which lengths gates are calibrated for.
struct CalibrationFlags {
  std::vector<std::int64_t> lengths;  // empty: 1,024 and on, doubled up to twice `context`
  std::int64_t tokens = CalibrationOptions().tokens_per_length;
};

void add_calibration_flags(CLI::App& command, CalibrationFlags& flags);

// `context`: what the gates were trained at. `longest`: tokens of text at hand; longer lengths are left out when they
// are not the user's own.
CalibrationOptions calibration_options(const CalibrationFlags& flags, const ModelConfig& model,
                                       std::int64_t context, std::int64_t longest);

}  // namespace seer::cli
