// Times what a gate adds to a layer: from queries and keys before RoPE to the block mask.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/support/machine.h"
#include "bench/support/paired_timing.h"

namespace seer::bench {

struct GateBenchOptions {
  std::int64_t num_q_heads = 32;
  std::int64_t num_kv_heads = 8;
  std::int64_t head_dim = 128;
  std::vector<std::int64_t> lengths = {8192, 32768};
  std::int64_t block_size = 64;
  std::string design = "Qavg16_Kmaxminavg";
  std::vector<std::string> policies = {"gate:ratio=0.1"};  // of ratio, threshold, mass or budget
  c10::ScalarType dtype = c10::kBFloat16;
  c10::Device device = c10::kCUDA;
  int repeats = 20;
  int warmup = 3;
  std::uint64_t seed = 0;
};

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void check_gate_bench(const GateBenchOptions& options);

struct GateMeasurement {
  std::string
      name;  // a policy; "libtorch": the same steps by LibTorch's operators, with the first policy of ratio
  std::int64_t length = 0;
  double density = 1;  // of the mask that was made
  Samples
      with_rope;  // RoPE of queries and keys, pooling in the same pass, representatives, selection, count
  Samples rope;  // RoPE alone, in the same rounds
  Samples gate;  // the difference of the two in each round: what the gate and its selection cost
};

struct GateBenchResult {
  GateBenchOptions options;
  Machine machine;
  std::vector<GateMeasurement> measurements;
};

// `before_call` runs before every call and may throw to stop; `say` gets one line of progress at a time.
GateBenchResult run_gate_bench(const GateBenchOptions& options,
                               const std::function<void()>& before_call,
                               const std::function<void(const std::string&)>& say);

std::string gate_json_lines(const GateBenchResult& result);
// For people, in microseconds.
std::string gate_table(const GateBenchResult& result);

}  // namespace seer::bench
