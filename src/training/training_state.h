// Checkpoints of training: folders that hold what is trained, the optimizer's moments and what they belong to.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace seer {

// Contiguous float32 tensors of one shape.
struct TrainedTensor {
  std::string name;  // as in files
  at::Tensor value;
  at::Tensor first_moment, second_moment;
};

// With moments of zeros.
TrainedTensor trained_tensor(std::string name, const at::Tensor& value);

struct TrainingState {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::vector<TrainedTensor> tensors;
  // What must be the same to go on: name -> text.
  std::map<std::string, std::string> settings;
};

// Writes the folder whole or not at all. Throws std::runtime_error naming the path.
void save_training_state(const TrainingState& state, const std::filesystem::path& folder);

// Reads values into the tensors of `state` and sets its step and tokens. Everything is checked before anything is
// written. Throws std::runtime_error naming the file, tensor or setting, with both values.
void load_training_state(const std::filesystem::path& folder, TrainingState& state);

}  // namespace seer
