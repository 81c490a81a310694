// Takes the tensors of a checkpoint by name, strictly.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "seer/checkpoint.h"
#include "seer/config.h"

namespace seer {

struct ExpectedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

// Every tensor of a model of this configuration, in the names of Hugging Face checkpoints.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// Throws std::runtime_error that names each missing, unexpected and wrongly shaped tensor. An output matrix that is
// stored although it is tied, and stored rotary frequencies, are no fault.
void check_tensors(const ModelConfig& config, const Checkpoint& checkpoint);

// The rows of several matrices (or vectors) below each other, in one tensor; no more than one of them is in memory
// twice at any time.
at::Tensor load_stacked(const Checkpoint& checkpoint, const std::vector<ExpectedTensor>& parts,
                        at::ScalarType dtype);

}  // namespace seer
