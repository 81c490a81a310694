#pragma once

#include <string>

#include "bench/model/prefill_bench.h"

namespace seer::bench {

// One JSON object a line, one line a policy and length.
std::string prefill_json_lines(const PrefillBenchResult& result);

// For people.
std::string prefill_table(const PrefillBenchResult& result);

}  // namespace seer::bench
