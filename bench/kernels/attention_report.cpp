#include "bench/kernels/attention_report.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "seer/device.h"

namespace seer::bench {
namespace {

using Json = nlohmann::ordered_json;

Json shape_json(const AttentionBenchOptions& options) {
  return {{"batch", options.batch},
          {"heads", options.num_q_heads},
          {"kv_heads", options.num_kv_heads},
          {"seq", options.q_len},
          {"kv_seq", options.kv_len},
          {"head_dim", options.head_dim},
          {"block_size", options.block_size},
          {"dtype", dtype_name(options.dtype)},
          {"causal", true}};
}

Json measurement_json(const AttentionMeasurement& measurement) {
  const Samples& samples = measurement.samples;
  Json json = {
      {"case", measurement.name},
      {"density", measurement.density},
      {"density_asked", measurement.density_asked},
      {"density_of_pairs", measurement.density_of_pairs},
      {"seconds", {{"median", samples.median()}, {"min", samples.min()}, {"max", samples.max()}}},
      {"spread", (samples.max() - samples.min()) / samples.median()},
      {"repeats", samples.seconds.size()},
      {"tflops", measurement.tflops},
      {"share_of_peak", measurement.share_of_peak}};
  if (!measurement.form.empty()) json["form"] = measurement.form;
  if (measurement.name == "sdpa") return json;
  json["speedup_over_sdpa"] = measurement.speedup_over_sdpa;
  json["time_over_dense"] = measurement.time_over_dense;
  json["fraction_of_ideal"] = measurement.fraction_of_ideal;
  json["fraction_of_ideal_against_sdpa"] = measurement.fraction_of_ideal_against_sdpa;
  json["max_difference"] = measurement.max_difference;
  return json;
}

}  // namespace

std::string attention_json_lines(const AttentionBenchResult& result) {
  std::string lines;
  for (const AttentionMeasurement& measurement : result.measurements) {
    Json line = {{"benchmark", result.options.backward ? "attention_backward" : "attention"}};
    line.update(measurement_json(measurement));
    line["shape"] = shape_json(result.options);
    line["device"] = result.options.device.is_cpu() ? "cpu" : "cuda";
    line["seed"] = result.options.seed;
    line["warmup"] = result.options.warmup;
    line["sdpa_form"] = result.sdpa_form;
    line["peak"] = {{"kind", result.peak_kind}, {"tflops", result.peak_tflops}};
    line["machine"] = machine_json(result.machine);
    lines += line.dump() + "\n";
  }
  return lines;
}

std::string attention_table(const AttentionBenchResult& result) {
  const AttentionBenchOptions& options = result.options;
  const Machine& machine = result.machine;
  std::string text;
  const auto write = std::back_inserter(text);
  fmt::format_to(
      write,
      "Causal attention{}, {}: batch {}, {} query and {} key/value heads, {} queries, {} "
      "keys, head_dim {}, blocks of {}\n",
      options.backward ? ", backward" : "", dtype_name(options.dtype), options.batch,
      options.num_q_heads, options.num_kv_heads, options.q_len, options.kv_len, options.head_dim,
      options.block_size);
  fmt::format_to(write, "{}; LibTorch {}; commit {}; {}\n", machine_text(machine), machine.torch,
                 machine.commit, machine.date);
  fmt::format_to(write, "Peak in the same rounds: {:.3f} TFLOP/s ({}). sdpa: {}\n\n",
                 result.peak_tflops, result.peak_kind, result.sdpa_form);
  fmt::format_to(write, "{:<10} {:>8} {:>8} {:>10} {:>10} {:>10} {:>9} {:>8} {:>8} {:>6} {:>7}\n",
                 "case", "density", "pairs", "median s", "min s", "max s", "TFLOP/s", "of peak",
                 "vs sdpa", "e own", "e sdpa");
  for (const AttentionMeasurement& row : result.measurements) {
    fmt::format_to(write,
                   "{:<10} {:>8.4f} {:>8.4f} {:>10.5f} {:>10.5f} {:>10.5f} {:>9.4f} {:>7.1f}%",
                   row.name, row.density, row.density_of_pairs, row.samples.median(),
                   row.samples.min(), row.samples.max(), row.tflops, 100 * row.share_of_peak);
    if (row.name != "sdpa") {
      fmt::format_to(write, " {:>7.2f}x {:>6.3f} {:>7.3f}", row.speedup_over_sdpa,
                     row.fraction_of_ideal, row.fraction_of_ideal_against_sdpa);
    }
    text += "\n";
  }
  fmt::format_to(write,
                 "\n{} rounds after {} of warm-up. TFLOP/s count the visible pairs of kept blocks. "
                 "e = dense time x density / time, dense being Seer's own or LibTorch's.\n",
                 options.repeats, options.warmup);
  return text;
}

}  // namespace seer::bench
