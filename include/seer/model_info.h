// What a model folder holds and what running it takes, without loading its weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "seer/config.h"

namespace seer {

// How a model is meant to be run.
struct RunShape {
  std::int64_t context =
      0;  // tokens of each sequence, prompt and answer; 0: all positions of the model
  std::int64_t batch = 1;
  std::string dtype = "float32";  // of weights and activations: float32 or bfloat16
  std::int64_t prefill_chunk = kDefaultPrefillChunk;
};

// Bytes at the peak of prefill.
struct MemoryEstimate {
  std::int64_t weights = 0;
  std::int64_t gates = 0;
  std::int64_t cache = 0;        // keys and values
  std::int64_t activations = 0;  // of one chunk of the prompt, and the logits of the last positions
  std::int64_t baseline = 0;     // the program, as it is when this is asked, and its libraries
  std::int64_t total() const { return weights + gates + cache + activations + baseline; }
};

struct TensorCount {
  std::int64_t tensors = 0;
  std::int64_t bytes = 0;
};

struct GateInfo {
  std::string folder;
  std::map<std::string, std::string> fields;  // the plain values of gate_config.json
  TensorCount stored;
};

struct ModelInfo {
  std::string folder;
  ModelConfig config;
  std::int64_t parameters = 0;  // as the configuration has them; a tied output matrix counts once
  std::int64_t embedding_parameters =
      0;  // of these: the embedding, and an output matrix of its own
  TensorCount stored;
  std::map<std::string, TensorCount> stored_by_dtype;
  std::optional<GateInfo> gates;
  RunShape run;  // context filled in
  MemoryEstimate memory;
  // What is wrong with the weights: missing files, tensors that are missing, unexpected or wrongly shaped.
  std::vector<std::string> problems;
};

// Throws std::invalid_argument for a run that cannot be, std::runtime_error where the configuration or the gates cannot
// be read. Weights that cannot be used are reported in `problems`.
ModelInfo read_model_info(const std::filesystem::path& folder, const RunShape& run,
                          const std::optional<std::filesystem::path>& gates = std::nullopt);

// For people, and one line of JSON.
std::string model_info_text(const ModelInfo& info);
std::string model_info_json(const ModelInfo& info);

}  // namespace seer
