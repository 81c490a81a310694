#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "seer/model.h"
#include "seer/tokenizer.h"

namespace seer::cli {

// The flags that every verb with a model has.
struct ModelFlags {
  std::string model;
  std::string device = "cpu";
  std::string dtype;  // empty: float32 on the CPU, bfloat16 on a GPU
  std::string attention = "seer";
  std::optional<std::int64_t> prefill_chunk;  // absent: as the device likes
  std::optional<int> threads;                 // as LibTorch chooses
};

// Adds -m,--model: a folder, or org/name of a model in the cache; seer::resolve_model() finds it.
void add_model_option(CLI::App& command, std::string& model);

void add_model_flags(CLI::App& command, ModelFlags& flags);

// --device and --dtype, for verbs that have no model yet.
void add_device_flags(CLI::App& command, std::string& device, std::string& dtype);
// --threads
void add_threads_flag(CLI::App& command, std::optional<int>& threads);
// Throws std::invalid_argument that names the flag.
c10::Device device_of(const std::string& device);
at::ScalarType dtype_of(const std::string& dtype, c10::Device device);
AttentionBackend attention_of(const std::string& name);
void set_threads(std::optional<int> threads);

// Throws std::invalid_argument for a flag's value that is not known, std::runtime_error for a device that is not there:
// before anything is read, which may take long.
void check_model_flags(const ModelFlags& flags);
// Sets the number of threads and loads the model. With stream_layers `checkpoint` must outlive it.
Model load_model(const ModelFlags& flags, const ModelConfig& config, const Checkpoint& checkpoint,
                 bool stream_layers = false);

// The tokens of a text that came from `source` (a file, or a flag), which stands in the message where it is no UTF-8.
std::vector<TokenId> encode_text(const Tokenizer& tokenizer, const std::string& text,
                                 const std::string& source, bool add_special_tokens = true);

}  // namespace seer::cli
