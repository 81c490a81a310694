#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>

#include "seer/model.h"

namespace seer::cli {

// The flags that every verb with a model has.
struct ModelFlags {
  std::string folder;
  std::string dtype = "float32";
  std::string attention = "seer";
  std::int64_t prefill_chunk = 2048;
  int threads = 0;  // 0: as LibTorch chooses
};

void add_model_flags(CLI::App& command, ModelFlags& flags);

// Sets the number of threads and loads the model. Throws std::invalid_argument for a flag's value that is not known.
Model load_model(const ModelFlags& flags);

// The text of a file; throws std::runtime_error that names it and says why it cannot be read.
std::string read_text_file(const std::string& file);

}  // namespace seer::cli
