#pragma once

#include <string>

#include "bench/kernels/attention_bench.h"

namespace seer::bench {

// JSON Lines: one complete record for each measurement. bench/README.md explains the fields.
std::string attention_json_lines(const AttentionBenchResult& result);

// For a person.
std::string attention_table(const AttentionBenchResult& result);

}  // namespace seer::bench
