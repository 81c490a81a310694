#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "base/quote.h"
#include "gate/adapter_folder.h"
#include "seer/gate.h"

namespace seer {

GateSet::GateSet(const GateConfig& config, const ModelConfig& model) : config_(config) {
  for (std::int64_t layer = 0; layer < model.num_layers; ++layer)
    layers_.push_back(make_gate(config, model));
}

GateSet::GateSet(GateSet&&) noexcept = default;
GateSet& GateSet::operator=(GateSet&&) noexcept = default;
GateSet::~GateSet() = default;

GateSet GateSet::load(const std::filesystem::path& folder, const ModelConfig& model) {
  const std::string config_file = (folder / kGateConfigFile).string();
  const GateConfig config = read_gate_config(folder);
  check_base_model(config, model, config_file);
  try {
    GateSet gates(config, model);
    const auto tensors =
        check_gate_tensors(read_gate_tensors(folder), expected_gate_tensors(config, model),
                           (folder / kGateTensorsFile).string());
    const std::vector<GateParameter> parameters = gates.parameters();
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      at::Tensor(parameters[i].value).copy_(tensors[i].second);
    return gates;
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(config_file + ": " + error.what());
  }
}

void GateSet::save(const std::filesystem::path& folder) const {
  std::vector<NamedTensor> tensors;
  for (const GateParameter& parameter : parameters())
    tensors.emplace_back(parameter.name, parameter.value.detach().cpu());
  write_adapter_folder(folder, config_, tensors);
}

void GateSet::set_calibration(CalibrationTable table) {
  table.check();
  config_.calibration = std::move(table);
}

void GateSet::initialise(GateInit init, std::uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  for (const auto& layer : layers_) layer->initialise(init, generator);
}

void GateSet::set_requires_grad(bool requires_grad) {
  for (const GateParameter& parameter : parameters())
    at::Tensor(parameter.value).set_requires_grad(requires_grad);
}

void GateSet::to(c10::Device device) {
  for (const GateParameter& parameter : parameters()) {
    const at::Tensor& value = parameter.value;
    if (value.device() != device) value.set_data(value.to(device));
  }
}

std::vector<GateParameter> GateSet::parameters() const {
  std::vector<GateParameter> all;
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    for (const GateParameter& parameter : layers_[layer]->parameters()) {
      all.push_back(
          {gate_tensor_name(static_cast<std::int64_t>(layer), parameter.name), parameter.value});
    }
  }
  return all;
}

std::int64_t GateSet::parameter_count() const {
  std::int64_t count = 0;
  for (const GateParameter& parameter : parameters()) count += parameter.value.numel();
  return count;
}

}  // namespace seer
