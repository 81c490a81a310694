#include <set>
#include <stdexcept>
#include <string_view>

#include "gate/adapter_folder.h"
#include "seer/checkpoint.h"
#include "seer/gate_adapter.h"

namespace seer {
namespace {

// "model.layers.12.self_attn..." -> "12"; "" of other names.
std::string layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return "";
  name.remove_prefix(kPrefix.size());
  return std::string(name.substr(0, name.find('.')));
}

}  // namespace

AdapterInfo read_adapter_info(const std::filesystem::path& folder) {
  AdapterInfo info;
  info.folder = folder.string();
  info.config = read_gate_config(folder);
  const Checkpoint file = Checkpoint::open_file(folder / kGateTensorsFile);
  std::set<std::string> layers;
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.info(name);
    info.tensors.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
    info.bytes += tensor.bytes;
    std::int64_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= size;
    info.parameters += count;
    if (const std::string layer = layer_of(name); !layer.empty()) layers.insert(layer);
  }
  info.layers = static_cast<std::int64_t>(layers.size());
  return info;
}

void check_adapter(const std::filesystem::path& folder, const ModelConfig& model) {
  const std::string source = (folder / kGateConfigFile).string();
  const GateConfig config = read_gate_config(folder);
  check_base_model(config, model, source);
  std::vector<ExpectedTensor> expected;
  try {
    expected = expected_gate_tensors(config, model);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(source + ": " + error.what());
  }
  check_gate_tensors(read_gate_tensors(folder), expected, (folder / kGateTensorsFile).string());
}

}  // namespace seer
