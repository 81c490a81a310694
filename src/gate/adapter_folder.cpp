#include "gate/adapter_folder.h"

#include <ATen/Functions.h>

#include <map>
#include <memory>
#include <span>
#include <stdexcept>

#include "base/quote.h"
#include "gate/decode_design.h"
#include "io/safetensors_writer.h"
#include "io/whole_folder.h"
#include "seer/checkpoint.h"
#include "seer/gate.h"

namespace seer {
namespace {

const char* dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "F32";
    case at::kBFloat16: return "BF16";
    case at::kHalf: return "F16";
    default: TORCH_CHECK(false, "gate tensor: expected float32, bfloat16 or float16, got ", type);
  }
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// The first few names.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 4;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i)
    text += (i > 0 ? ", " : "") + quote(names[i]);
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

}  // namespace

std::string gate_tensor_name(std::int64_t layer, const std::string& name) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate." + name;
}

std::vector<ExpectedTensor> expected_gate_tensors(const GateConfig& config,
                                                  const ModelConfig& model) {
  check_gate_config(config, model);
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> of_layer;
  if (config.kind == GateKind::kDecode) {
    of_layer = decode_gate_tensors(config, model);
  } else {
    const std::unique_ptr<Gate> gate = make_gate(config, model);
    for (const GateParameter& parameter : gate->parameters())
      of_layer.emplace_back(parameter.name, parameter.value.sizes().vec());
  }
  std::vector<ExpectedTensor> expected;
  for (std::int64_t layer = 0; layer < model.num_layers; ++layer) {
    for (const auto& [name, shape] : of_layer)
      expected.push_back({gate_tensor_name(layer, name), shape});
  }
  return expected;
}

std::vector<NamedTensor> check_gate_tensors(std::vector<NamedTensor> tensors,
                                            const std::vector<ExpectedTensor>& expected,
                                            const std::string& source) {
  std::map<std::string, at::Tensor> present(tensors.begin(), tensors.end());
  std::vector<std::string> missing, unexpected;
  std::vector<NamedTensor> checked;
  for (const ExpectedTensor& tensor : expected) {
    const auto found = present.find(tensor.name);
    if (found == present.end()) {
      missing.push_back(tensor.name);
      continue;
    }
    const std::string where = source + ": tensor " + quote(tensor.name) + ": ";
    if (found->second.sizes() != at::IntArrayRef(tensor.shape)) {
      throw std::runtime_error(where + "shape: expected " + shape_text(tensor.shape) + ", got " +
                               shape_text(found->second.sizes()) +
                               " (the configuration of the gates and the model say what is "
                               "expected)");
    }
    if (!at::isfinite(found->second).all().item<bool>()) {
      throw std::runtime_error(where +
                               "holds a number that is not finite; expected finite "
                               "weights (take an earlier checkpoint, or distil the gates again)");
    }
    checked.emplace_back(tensor.name, found->second);
    present.erase(found);
  }
  for (const auto& [name, value] : present) unexpected.push_back(name);
  if (missing.empty() && unexpected.empty()) return checked;
  throw std::runtime_error(source + ": not the tensors of these gates" +
                           (missing.empty() ? "" : "; missing: " + some_of(missing)) +
                           (unexpected.empty() ? "" : "; unexpected: " + some_of(unexpected)));
}

std::vector<NamedTensor> read_gate_tensors(const std::filesystem::path& folder) {
  const Checkpoint file = Checkpoint::open_file(folder / kGateTensorsFile);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.view(name));
  return tensors;
}

void write_adapter_folder(const std::filesystem::path& folder, const GateConfig& config,
                          const std::vector<NamedTensor>& tensors) {
  const std::string json = gate_config_json(config);
  WholeFolder whole(folder, {kGateConfigFile, kGateTensorsFile});
  OutputFile config_file(whole.path() / kGateConfigFile);
  config_file.write(json);
  config_file.finish();
  std::vector<SafetensorsInput> inputs;
  for (const auto& [name, value] : tensors) {
    TORCH_CHECK(value.is_contiguous() && value.is_cpu(), "gate tensor ", name,
                ": expected a contiguous tensor of the CPU");
    inputs.push_back({name, dtype_name(value.scalar_type()), value.sizes().vec(),
                      std::span(static_cast<const std::byte*>(value.const_data_ptr()),
                                static_cast<std::size_t>(value.nbytes()))});
  }
  OutputFile tensors_file(whole.path() / kGateTensorsFile);
  write_safetensors(tensors_file, inputs);
  tensors_file.finish();
  whole.keep();
}

}  // namespace seer
