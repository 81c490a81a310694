#pragma once

#include <cstdint>

#include "seer/config.h"
#include "seer/model_info.h"

namespace seer {

struct ParameterCount {
  std::int64_t total = 0;
  std::int64_t embedding = 0;
};

ParameterCount count_parameters(const ModelConfig& config);

// Throws std::invalid_argument naming the field of `run` that cannot be.
void check_run_shape(const RunShape& run);

// The formula, and all its constants, are in memory_estimate.cpp.
MemoryEstimate estimate_memory(const ModelConfig& config, const RunShape& run,
                               std::int64_t gate_bytes);

}  // namespace seer
