#include "bench/model/prefill_report.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "bench/model/model_report.h"
#include "bench/model/part_times.h"

namespace seer::bench {

std::string prefill_json_lines(const PrefillBenchResult& result) {
  std::string lines;
  for (const PrefillMeasurement& measurement : result.measurements) {
    nlohmann::ordered_json line = {{"benchmark", "prefill"},
                                   {"policy", measurement.policy},
                                   {"seq", measurement.length},
                                   {"density", measurement.density},
                                   {"seconds", seconds_json(measurement.samples)},
                                   {"spread", spread(measurement.samples)},
                                   {"repeats", measurement.samples.seconds.size()},
                                   {"tokens_per_second", static_cast<double>(measurement.length) /
                                                             measurement.samples.median()},
                                   {"speedup_over_dense", measurement.speedup_over_dense},
                                   {"tflops", measurement.tflops}};
    nlohmann::ordered_json& parts = line["part_seconds"];
    for (std::size_t i = 0; i < kLayerParts.size(); ++i) {
      parts[std::string(layer_part_name(kLayerParts[i]))] = measurement.part_seconds[i];
    }
    line["peak_memory_bytes"] = measurement.peak_memory;
    line["prefill_chunk"] = measurement.chunk;
    line["warmup"] = result.options.warmup;
    add_model_fields(result.options.model, result.machine, line);
    lines += line.dump() + "\n";
  }
  return lines;
}

std::string prefill_table(const PrefillBenchResult& result) {
  std::string text = model_heading("Prefill", result.options.model, result.machine);
  const auto write = std::back_inserter(text);
  fmt::format_to(write, "{:<24} {:>7} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8}", "policy", "tokens",
                 "density", "median s", "min s", "max s", "vs dense", "TFLOP/s");
  for (const LayerPart part : kLayerParts) fmt::format_to(write, " {:>11}", layer_part_name(part));
  text += "  peak GB\n";
  for (const PrefillMeasurement& row : result.measurements) {
    fmt::format_to(write, "{:<24} {:>7} {:>7.4f} {:>9.4f} {:>9.4f} {:>9.4f} {:>7.2f}x {:>8.2f}",
                   row.policy, row.length, row.density, row.samples.median(), row.samples.min(),
                   row.samples.max(), row.speedup_over_dense, row.tflops);
    for (const double seconds : row.part_seconds) fmt::format_to(write, " {:>11.4f}", seconds);
    fmt::format_to(write, " {:>8.2f}\n", static_cast<double>(row.peak_memory) / 1e9);
  }
  fmt::format_to(write,
                 "\n{} rounds after {} of warm-up, the policies in turn; up to the final norm. The "
                 "seconds of parts are those of another pass.\n",
                 result.options.repeats, result.options.warmup);
  return text;
}

}  // namespace seer::bench
