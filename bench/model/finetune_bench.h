// Times steps of fine-tuning with sparse attention against steps with dense attention, side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "bench/model/model_source.h"
#include "bench/support/machine.h"
#include "bench/support/paired_timing.h"

namespace seer::bench {

struct FinetuneBenchOptions {
  ModelSource model;            // a folder: training begins from a checkpoint
  std::int64_t length = 16384;  // tokens of a sequence
  std::int64_t batch_size = 1;  // sequences of a step
  std::string policy = "gate:ratio=0.1";
  std::int64_t gate_interval = 8;  // of interval_speedup
  bool recompute = true;
  int repeats = 10;
  int warmup = 3;
};

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void check_finetune_bench(const FinetuneBenchOptions& options);

// One optimizer step of each.
struct FinetuneBenchResult {
  FinetuneBenchOptions options;
  Machine machine;
  Samples dense;
  Samples sparse;                   // gates, where there are any, are frozen
  std::optional<Samples> learning;  // gates learn beside: policies of gates
  double density = 1;
  double sparse_speedup = 0;  // dense / sparse, median over rounds
  std::optional<double> learning_speedup;
  // Where gates learn in every gate_interval-th step: from the medians of the three.
  std::optional<double> interval_speedup;
  std::uint64_t peak_memory = 0;  // bytes, of all three trainings together
};

// Throws whatever `before_call` throws. `say` gets one line of progress at a time.
FinetuneBenchResult run_finetune_bench(const FinetuneBenchOptions& options,
                                       const std::function<void()>& before_call,
                                       const std::function<void(const std::string&)>& say);

std::string finetune_json_lines(const FinetuneBenchResult& result);
std::string finetune_table(const FinetuneBenchResult& result);

}  // namespace seer::bench
