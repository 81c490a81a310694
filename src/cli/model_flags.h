#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

#include "seer/model.h"

namespace seer::cli {

// The flags that every verb with a model has.
struct ModelFlags {
  std::string model;
  std::string dtype = "float32";
  std::string attention = "seer";
  std::int64_t prefill_chunk = kDefaultPrefillChunk;
  int threads = 0;  // 0: as LibTorch chooses
};

// Adds -m,--model: a folder, or org/name of a model in the cache; seer::resolve_model() finds it.
void add_model_option(CLI::App& command, std::string& model);

void add_model_flags(CLI::App& command, ModelFlags& flags);

// Sets the number of threads and loads the model that --model was resolved to. Throws std::invalid_argument for a
// flag's value that is not known.
Model load_model(const ModelFlags& flags, const std::filesystem::path& folder);
// The same from what was read of the folder. With stream_layers `checkpoint` must outlive the model.
Model load_model(const ModelFlags& flags, const ModelConfig& config, const Checkpoint& checkpoint,
                 bool stream_layers = false);

}  // namespace seer::cli
