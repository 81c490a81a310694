// Times the prefill of a model under policies against its own dense prefill, side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/model/model_source.h"
#include "bench/support/machine.h"
#include "bench/support/paired_timing.h"

namespace seer::bench {

struct PrefillBenchOptions {
  ModelSource model;
  std::vector<std::int64_t> lengths = {32768};
  std::vector<std::string> policies = {"gate:ratio=0.1"};  // "dense" is measured in any case
  std::optional<std::int64_t> prefill_chunk;               // absent: Model::prefill_chunk()
  int repeats = 5;
  int warmup = 1;
};

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void check_prefill_bench(const PrefillBenchOptions& options);

struct PrefillMeasurement {
  std::string policy;  // canonical
  std::int64_t length = 0;
  std::int64_t chunk = 0;         // tokens at once
  double density = 1;             // blocks that were computed, of those that are visible
  Samples samples;                // up to the final norm
  double speedup_over_dense = 1;  // median over the rounds
  double tflops = 0;              // of the products and the kept attention, at the median time
  // Of a pass of its own, in the order of kLayerParts.
  std::vector<double> part_seconds;
  std::uint64_t peak_memory = 0;  // bytes, with the weights
};

struct PrefillBenchResult {
  PrefillBenchOptions options;
  Machine machine;
  std::vector<PrefillMeasurement> measurements;
};

// Throws whatever `before_call` throws. `say` gets one line of progress at a time.
PrefillBenchResult run_prefill_bench(const PrefillBenchOptions& options,
                                     const std::function<void()>& before_call,
                                     const std::function<void(const std::string&)>& say);

}  // namespace seer::bench
