#include "seer/model_info.h"

#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "base/quote.h"
#include "model/memory_estimate.h"
#include "model/weights.h"
#include "seer/checkpoint.h"

namespace seer {
namespace {

void count(const TensorInfo& tensor, TensorCount& sum) {
  ++sum.tensors;
  sum.bytes += static_cast<std::int64_t>(tensor.bytes);
}

GateInfo read_gates(const std::filesystem::path& folder) {
  GateInfo gates;
  gates.folder = folder.string();
  const std::filesystem::path file = folder / "gate_config.json";
  const Json config = read_json_file(file);
  if (!config.is_object())
    throw std::runtime_error(file.string() + ": expected an object, got " + config.type_name());
  for (const auto& [field, value] : config.items()) {
    if (value.is_structured()) continue;
    gates.fields[field] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  const Checkpoint checkpoint = Checkpoint::open_file(folder / "gates.safetensors");
  for (const std::string& name : checkpoint.names()) count(checkpoint.info(name), gates.stored);
  return gates;
}

// Weights that cannot be opened are a problem, but what the configuration says is still of use.
void read_weights(const std::filesystem::path& folder, ModelInfo& info) {
  try {
    const Checkpoint checkpoint = Checkpoint::open(folder);
    for (const std::string& name : checkpoint.names()) {
      const TensorInfo& tensor = checkpoint.info(name);
      count(tensor, info.stored);
      count(tensor, info.stored_by_dtype[tensor.dtype]);
      if (tensor.dtype != "F32" && tensor.dtype != "F16" && tensor.dtype != "BF16") {
        info.problems.push_back("tensor " + quote(name) + ": dtype " + tensor.dtype +
                                " is not supported for weights (supported: F32, F16, BF16)");
      }
    }
    check_tensors(info.config, checkpoint);
  } catch (const std::runtime_error& error) {
    info.problems.emplace_back(error.what());
  }
}

}  // namespace

ModelInfo read_model_info(const std::filesystem::path& folder, const RunShape& run,
                          const std::optional<std::filesystem::path>& gates) {
  ModelInfo info;
  info.folder = folder.string();
  info.config = read_model_config(folder);
  info.run = run;
  if (info.run.context == 0) info.run.context = info.config.max_positions;
  check_run_shape(info.run);
  const ParameterCount parameters = count_parameters(info.config);
  info.parameters = parameters.total;
  info.embedding_parameters = parameters.embedding;
  if (gates) info.gates = read_gates(*gates);
  read_weights(folder, info);
  info.memory = estimate_memory(info.config, info.run, info.gates ? info.gates->stored.bytes : 0);
  return info;
}

}  // namespace seer
