// Builds the layers of a decoder from where its tensors come from.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/layers.h"
#include "model/self_attention.h"
#include "model/weights.h"
#include "seer/config.h"

namespace seer {

struct DecoderLayer {
  RmsNorm attention_norm, mlp_norm;
  SelfAttention attention;
  Mlp mlp;
};

class LayerLoader {
 public:
  // `source` has the tensors of `config`; both must outlive the object. `options`: dtype and device of the tensors.
  LayerLoader(const ModelConfig& config, const WeightSource& source,
              const at::TensorOptions& options);

  at::Tensor tensor(const std::string& name) const;
  RmsNorm norm(const std::string& name) const;
  DecoderLayer layer(std::int64_t index) const;

 private:
  // One linear layer from several that read the same input.
  Linear linear(const std::string& prefix, const std::vector<std::string>& names, bool bias) const;

  const ModelConfig& config_;
  const WeightSource& source_;
  at::TensorOptions options_;
  std::map<std::string, std::vector<std::int64_t>> shapes_;  // by name
};

}  // namespace seer
