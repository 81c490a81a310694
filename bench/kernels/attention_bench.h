// Times Seer's attention against LibTorch's, side by side, and checks the results first.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/support/machine.h"
#include "bench/support/paired_timing.h"

namespace seer::bench {

// Masks to measure besides random ones, such as those that gates chose.
struct NamedMask {
  std::string name;
  at::Tensor block_mask;  // as block_sparse_attention takes it, on the device
};

// Always causal. Density is the share of the blocks of the causal triangle that a mask keeps.
struct AttentionBenchOptions {
  std::int64_t batch = 1;
  std::int64_t num_q_heads = 8;
  std::int64_t num_kv_heads = 2;
  std::int64_t q_len = 16384;
  std::int64_t kv_len = 16384;
  std::int64_t head_dim = 128;
  std::int64_t block_size = 64;
  std::vector<double> densities = {1.0, 0.1};  // 1.0 is measured in any case
  std::vector<NamedMask> masks;
  bool backward =
      false;  // the gradients of q, k and v from those of the result, in place of the result
  c10::ScalarType dtype = c10::kFloat;
  c10::Device device = c10::kCPU;
  int threads = 0;  // 0: as many as LibTorch takes by itself
  int repeats = 5;
  int warmup = 1;
  std::uint64_t seed = 0;
};

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void check_attention_bench(const AttentionBenchOptions& options);

// Bytes that the run holds at its fullest, estimated from the shapes.
std::uint64_t attention_bench_memory(const AttentionBenchOptions& options);

// One thing that was timed.
struct AttentionMeasurement {
  // "sdpa", "dense", "sparse", "block_map" (not of the backward); "sdpa_flash" on a GPU; a NamedMask's
  std::string name;
  std::string form;  // of LibTorch's: how it was called; else empty
  double density_asked = 1;
  double density = 1;           // kept blocks over blocks of the causal triangle, counted
  double density_of_pairs = 1;  // visible query-key pairs inside kept blocks over all visible ones
  Samples samples;
  double tflops = 0;             // of the visible pairs inside kept blocks, at the median time
  double share_of_peak = 0;      // tflops over the multiply-add peak of the same rounds
  double speedup_over_sdpa = 0;  // median over rounds of LibTorch's time / this time
  double fraction_of_ideal = 0;  // own dense time x density / this time, median over rounds
  double fraction_of_ideal_against_sdpa = 0;  // LibTorch's time x density / this time
  double time_over_dense = 0;                 // this time / own dense time
  double max_difference = 0;  // largest absolute difference from the result it was checked against
};

struct AttentionBenchResult {
  AttentionBenchOptions options;
  Machine machine;
  std::string sdpa_form;   // how LibTorch was called for the case "sdpa"
  std::string peak_kind;   // what was run for the peak
  double peak_tflops = 0;  // median, over the same threads, in the same rounds
  std::vector<AttentionMeasurement> measurements;
};

// Of the backward where the options say so. Throws std::runtime_error when a result is wrong (nothing is reported then), and whatever
// `before_call` throws. `say` gets one line of progress at a time.
AttentionBenchResult run_attention_bench(const AttentionBenchOptions& options,
                                         const std::function<void()>& before_call,
                                         const std::function<void(const std::string&)>& say);

}  // namespace seer::bench
