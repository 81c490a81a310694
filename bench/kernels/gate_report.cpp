#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "bench/kernels/gate_bench.h"
#include "seer/device.h"

namespace seer::bench {
namespace {

using Json = nlohmann::ordered_json;

Json times(const Samples& samples) {
  return {{"median", samples.median()}, {"min", samples.min()}, {"max", samples.max()}};
}

}  // namespace

std::string gate_json_lines(const GateBenchResult& result) {
  const GateBenchOptions& options = result.options;
  std::string lines;
  for (const GateMeasurement& measurement : result.measurements) {
    const Json line = {{"benchmark", "gate"},
                       {"case", measurement.name},
                       {"density", measurement.density},
                       {"gate_seconds", times(measurement.gate)},
                       {"seconds_with_rope", times(measurement.with_rope)},
                       {"rope_seconds", times(measurement.rope)},
                       {"repeats", measurement.gate.seconds.size()},
                       {"shape",
                        {{"heads", options.num_q_heads},
                         {"kv_heads", options.num_kv_heads},
                         {"seq", measurement.length},
                         {"head_dim", options.head_dim},
                         {"block_size", options.block_size},
                         {"design", options.design},
                         {"dtype", dtype_name(options.dtype)}}},
                       {"device", options.device.is_cpu() ? "cpu" : "cuda"},
                       {"seed", options.seed},
                       {"warmup", options.warmup},
                       {"machine", machine_json(result.machine)}};
    lines += line.dump() + "\n";
  }
  return lines;
}

std::string gate_table(const GateBenchResult& result) {
  const GateBenchOptions& options = result.options;
  const Machine& machine = result.machine;
  constexpr double kMicroseconds = 1e6;
  std::string text;
  const auto write = std::back_inserter(text);
  fmt::format_to(
      write, "A layer's gate {}, {}: {} query and {} key/value heads, head_dim {}, blocks of {}\n",
      options.design, dtype_name(options.dtype), options.num_q_heads, options.num_kv_heads,
      options.head_dim, options.block_size);
  fmt::format_to(write, "{}; LibTorch {}; commit {}; {}\n\n", machine_text(machine), machine.torch,
                 machine.commit, machine.date);
  fmt::format_to(write, "{:>8} {:<24} {:>8} {:>12} {:>10} {:>10} {:>12}\n", "tokens", "case",
                 "density", "gate, us", "min", "max", "RoPE, us");
  for (const GateMeasurement& row : result.measurements) {
    fmt::format_to(write, "{:>8} {:<24} {:>8.4f} {:>12.1f} {:>10.1f} {:>10.1f} {:>12.1f}\n",
                   row.length, row.name, row.density, row.gate.median() * kMicroseconds,
                   row.gate.min() * kMicroseconds, row.gate.max() * kMicroseconds,
                   row.rope.median() * kMicroseconds);
  }
  fmt::format_to(
      write,
      "\n{} rounds after {} of warm-up. The gate's time is that of everything from queries and "
      "keys before RoPE to the counted mask, less RoPE's in the same round.\n",
      options.repeats, options.warmup);
  return text;
}

}  // namespace seer::bench
