// Adapter folders as files: what is in them, and the published format in and out. Nothing here runs a gate.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "seer/gate_config.h"

namespace seer {

struct AdapterTensor {
  std::string name;
  std::string dtype;  // F32, BF16 or F16
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
};

struct AdapterInfo {
  std::string folder;
  GateConfig config;
  std::vector<AdapterTensor> tensors;  // by name
  std::int64_t layers = 0;             // that have tensors
  std::int64_t parameters = 0;
  std::uint64_t bytes = 0;
};

// Reads gate_config.json and the header of gates.safetensors. Throws std::runtime_error.
AdapterInfo read_adapter_info(const std::filesystem::path& folder);

// Throws std::runtime_error unless the adapter fits this model: all that GateSet::load checks, also for decode gates.
void check_adapter(const std::filesystem::path& folder, const ModelConfig& model);

// Reads a published adapter, config.json and attn_gate_weights.pth (prefill gates of Llama and Qwen2, decode gates of
// Qwen2 and Qwen3), and writes it as an adapter folder for `model`, with the types that it has. The .pth is a pickle:
// the reader builds tensors and nothing else, and refuses every other opcode and global by name. Checked as
// GateSet::load checks, and against the sizes that config.json gives. Writes the folder whole or not at all.
// Throws std::runtime_error naming file, field or tensor.
AdapterInfo import_published_adapter(const std::filesystem::path& published,
                                     const ModelConfig& model, const std::filesystem::path& out);

// Writes an adapter as a published one: config.json and attn_gate_weights.pth, which torch.load(weights_only=True)
// opens, with the same tensors in the same types. Settings that the published format has no word for are an error.
// config.json is that of the adapter this one was imported from, else that of `model_folder`, which is needed then.
// Throws std::runtime_error.
void export_published_adapter(const std::filesystem::path& adapter,
                              const std::filesystem::path& out,
                              const std::filesystem::path& model_folder = {});

}  // namespace seer
