// What the records of benchmarks of whole models share.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "bench/model/model_source.h"
#include "bench/support/machine.h"
#include "bench/support/paired_timing.h"

namespace seer::bench {

// {"median": ..., "min": ..., "max": ...}
nlohmann::ordered_json seconds_json(const Samples& samples);
// (max - min) / median
double spread(const Samples& samples);
// Adds model, gates, device, dtype, seed and machine.
void add_model_fields(const ModelSource& source, const Machine& machine,
                      nlohmann::ordered_json& line);
// A line for people: what was measured on what.
std::string model_heading(const char* what, const ModelSource& source, const Machine& machine);

}  // namespace seer::bench
