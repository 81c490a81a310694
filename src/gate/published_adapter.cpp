#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "gate/adapter_folder.h"
#include "gate/published_config.h"
#include "io/torch_tensors.h"
#include "io/whole_folder.h"
#include "seer/gate_adapter.h"

namespace seer {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kTensorsFile = "attn_gate_weights.pth";

GateKind kind_of(const std::vector<NamedTensor>& tensors) {
  const bool decode = std::any_of(tensors.begin(), tensors.end(), [](const NamedTensor& tensor) {
    return tensor.first.find(".attn_gate.attngate_linear_") != std::string::npos;
  });
  return decode ? GateKind::kDecode : GateKind::kPrefill;
}

// config.json of the model, which must be the one that the gates were made for.
Json base_json(const GateConfig& config, const std::filesystem::path& model_folder,
               const std::string& source) {
  if (!config.published.empty()) return parse_json(config.published, source + ": published");
  if (model_folder.empty()) {
    throw std::runtime_error(source +
                             ": these gates were not imported: exporting them needs the folder of "
                             "their model (--model), whose config.json the published format "
                             "repeats");
  }
  check_base_model(config, read_model_config(model_folder), source);
  return read_json_file(model_folder / kConfigFile);
}

}  // namespace

AdapterInfo import_published_adapter(const std::filesystem::path& published,
                                     const ModelConfig& model, const std::filesystem::path& out) {
  const std::string tensors_file = (published / kTensorsFile).string();
  const Json json = read_json_file(published / kConfigFile);
  std::vector<NamedTensor> tensors = read_torch_tensors(published / kTensorsFile);
  const GateConfig config =
      read_published_config(json, kind_of(tensors), model, (published / kConfigFile).string());
  tensors =
      check_gate_tensors(std::move(tensors), expected_gate_tensors(config, model), tensors_file);
  write_adapter_folder(out, config, tensors);
  return read_adapter_info(out);
}

void export_published_adapter(const std::filesystem::path& adapter,
                              const std::filesystem::path& out,
                              const std::filesystem::path& model_folder) {
  const std::string source = (adapter / kGateConfigFile).string();
  const GateConfig config = read_gate_config(adapter);
  const auto json = published_config_json(config, base_json(config, model_folder, source), source);
  std::vector<NamedTensor> tensors = read_gate_tensors(adapter);
  for (auto& [name, value] : tensors) value = value.contiguous();
  WholeFolder whole(out, {kConfigFile, kTensorsFile});
  OutputFile config_file(whole.path() / kConfigFile);
  config_file.write(json.dump(2) + "\n");
  config_file.finish();
  OutputFile tensors_file(whole.path() / kTensorsFile);
  write_torch_tensors(tensors_file, tensors);
  tensors_file.finish();
  whole.keep();
}

}  // namespace seer
