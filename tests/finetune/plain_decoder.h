// A decoder in plain LibTorch operations of float64, which autograd differentiates: the truth for training.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "seer/checkpoint.h"
#include "seer/config.h"

namespace seer::test {

// By the names of files: float64 leaves that require gradients.
using PlainWeights = std::map<std::string, at::Tensor>;
PlainWeights plain_weights(const ModelConfig& config, const Checkpoint& checkpoint);

// Which key blocks a layer attends to; undefined: all.
struct PlainMasks {
  std::vector<at::Tensor> layers = {};  // bool [heads or 1, query blocks, key blocks]
  std::int64_t block_size = 64;
};

// Logits [length, vocab_size] of tokens int64 [length].
at::Tensor plain_logits(const ModelConfig& config, const PlainWeights& weights,
                        const at::Tensor& tokens, const PlainMasks& masks = {});
// Mean cross-entropy of the next token.
at::Tensor plain_loss(const ModelConfig& config, const PlainWeights& weights,
                      const at::Tensor& tokens, const PlainMasks& masks = {});

}  // namespace seer::test
