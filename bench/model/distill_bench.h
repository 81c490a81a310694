// Times steps of distillation against the model's own dense forward pass, side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "bench/model/model_source.h"
#include "bench/support/machine.h"
#include "bench/support/paired_timing.h"

namespace seer::bench {

struct DistillBenchOptions {
  ModelSource model;
  std::int64_t length = 32768;  // tokens of a sequence
  std::int64_t batch_size = 1;
  int repeats = 5;
  int warmup = 1;
};

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void check_distill_bench(const DistillBenchOptions& options);

struct DistillBenchResult {
  DistillBenchOptions options;
  Machine machine;
  Samples step;     // one optimizer step: all sequences of a batch, and the update
  Samples forward;  // the model's dense pass over one sequence
  double tokens_per_second = 0;
  double time_over_forward = 0;   // a sequence's share of a step / a dense pass, median over rounds
  double tflops = 0;              // of the model's pass, at the median time of a step
  std::uint64_t peak_memory = 0;  // bytes, with the weights
  double first_loss = 0, last_loss = 0;
};

// Throws whatever `before_call` throws. `say` gets one line of progress at a time.
DistillBenchResult run_distill_bench(const DistillBenchOptions& options,
                                     const std::function<void()>& before_call,
                                     const std::function<void(const std::string&)>& say);

std::string distill_json_lines(const DistillBenchResult& result);
std::string distill_table(const DistillBenchResult& result);

}  // namespace seer::bench
