// Where the tensors of a model come from, and how a checkpoint is held against a configuration.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

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

// Fills tensors by name.
class WeightSource {
 public:
  WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;
  virtual ~WeightSource() = default;

  // `out`: contiguous, of the shape of the tensor `name`.
  virtual void fill(const std::string& name, const at::Tensor& out) const = 0;
};

// A checkpoint, which must outlive the object.
class CheckpointWeights final : public WeightSource {
 public:
  explicit CheckpointWeights(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}
  void fill(const std::string& name, const at::Tensor& out) const override {
    checkpoint_.load_into(name, out);
  }

 private:
  const Checkpoint& checkpoint_;
};

// Matrices normal(0, 0.02), norms 1, biases 0, in the order in which they are asked for.
class RandomWeights final : public WeightSource {
 public:
  RandomWeights(c10::Device device, std::uint64_t seed);
  void fill(const std::string& name, const at::Tensor& out) const override;

 private:
  mutable at::Generator generator_;
};

// The rows of several matrices (or vectors) below each other, in one tensor; no more than a piece of them is in memory
// twice at any time.
at::Tensor load_stacked(const WeightSource& source, const std::vector<ExpectedTensor>& parts,
                        const at::TensorOptions& options);

}  // namespace seer
