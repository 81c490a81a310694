#include "bench/model/model_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "seer/device.h"

namespace seer::bench {
namespace {

std::string name_of(const ModelSource& source) {
  return source.shape.empty() ? source.folder.filename().string()
                              : source.shape + " (random weights)";
}

}  // namespace

nlohmann::ordered_json seconds_json(const Samples& samples) {
  return {{"median", samples.median()}, {"min", samples.min()}, {"max", samples.max()}};
}

double spread(const Samples& samples) {
  return (samples.max() - samples.min()) / samples.median();
}

void add_model_fields(const ModelSource& source, const Machine& machine,
                      nlohmann::ordered_json& line) {
  line["model"] = name_of(source);
  line["gates"] =
      source.gates.empty() ? source.design + " (random weights)" : source.gates.filename().string();
  line["block_size"] = source.block_size;
  line["device"] = source.device.is_cpu() ? "cpu" : "cuda";
  line["dtype"] = dtype_name(source.dtype);
  line["seed"] = source.seed;
  line["machine"] = machine_json(machine);
}

std::string model_heading(const char* what, const ModelSource& source, const Machine& machine) {
  return fmt::format("{} of {}, {}\n{}; LibTorch {}; commit {}; {}\n\n", what, name_of(source),
                     dtype_name(source.dtype), machine_text(machine), machine.torch, machine.commit,
                     machine.date);
}

}  // namespace seer::bench
