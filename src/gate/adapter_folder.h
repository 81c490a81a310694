// An adapter's folder: gate_config.json and gates.safetensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/torch_tensors.h"
#include "seer/config.h"
#include "seer/gate_config.h"

namespace seer {

inline constexpr const char* kGateConfigFile = "gate_config.json";
inline constexpr const char* kGateTensorsFile = "gates.safetensors";

// "model.layers.<layer>.self_attn.attn_gate.<name>"
std::string gate_tensor_name(std::int64_t layer, const std::string& name);

struct ExpectedTensor {
  std::string name;  // the whole one
  std::vector<std::int64_t> shape;
};

// Of all layers, in order. Throws std::invalid_argument as check_gate_config does.
std::vector<ExpectedTensor> expected_gate_tensors(const GateConfig& config,
                                                  const ModelConfig& model);

// Throws std::runtime_error "<source>: ..." unless `tensors` are those expected, with their shapes, and finite. Returns
// them in the expected order.
std::vector<NamedTensor> check_gate_tensors(std::vector<NamedTensor> tensors,
                                            const std::vector<ExpectedTensor>& expected,
                                            const std::string& source);

// Reads all tensors of gates.safetensors in the types that they have.
std::vector<NamedTensor> read_gate_tensors(const std::filesystem::path& folder);

// Writes the folder whole or not at all: contiguous float32, bfloat16 or float16 tensors.
void write_adapter_folder(const std::filesystem::path& folder, const GateConfig& config,
                          const std::vector<NamedTensor>& tensors);

}  // namespace seer
