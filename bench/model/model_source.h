// What the benchmarks of whole models run: a folder, or a shape with random weights.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "seer/gate.h"
#include "seer/model.h"
#include "seer/tokenizer.h"
#include "seer/training_data.h"

namespace seer::bench {

struct ModelSource {
  std::string shape;                         // a name of model_shapes.h
  std::filesystem::path folder;              // or a model's folder
  std::filesystem::path gates;               // an adapter's folder; empty: random weights
  std::string design = "Qavg16_Kmaxminavg";  // of random gates
  std::int64_t block_size = 64;              // of random gates
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = c10::kFloat;
  std::uint64_t seed = 0;
};

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void require_flag(bool holds, const char* flag, std::int64_t value, const char* expected);

// Throws std::invalid_argument unless exactly one of shape and folder is given.
ModelConfig config_of(const ModelSource& source);
Model make_model(const ModelSource& source, const ModelConfig& config);
// On the model's device.
GateSet make_gates(const ModelSource& source, const ModelConfig& config);

// Random ids, `length` of them; never the same for two indices.
std::vector<TokenId> random_tokens(const ModelConfig& config, std::int64_t index,
                                   std::int64_t length);

// Sequences of random_tokens(). `config` must outlive the object.
class RandomData final : public TrainingData {
 public:
  explicit RandomData(const ModelConfig& config) : config_(config) {}
  std::vector<TokenId> sequence(std::int64_t index, std::int64_t length) const override {
    return random_tokens(config_, index, length);
  }
  std::string fingerprint() const override { return "random"; }

 private:
  const ModelConfig& config_;
};

// Operations of a pass over `length` tokens up to the final norm, a multiply-add counting twice, with this share of the
// causal attention.
double operations_of_pass(const ModelConfig& config, std::int64_t length, double density);

}  // namespace seer::bench
