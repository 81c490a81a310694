// Cross-entropy of the next token, a few rows at a time: no tensor of length x vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include "finetune/flat_weights.h"

namespace seer {

// What the rows of a batch are to predict.
struct Targets {
  at::Tensor tokens;  // int64 [rows]; any token where nothing is to be predicted
  at::Tensor counts;  // float32 [rows]: 1, or 0 where nothing is to be predicted
};

// tokens int64 [batch, length]: each row is to predict the one behind it; the last of a sequence nothing.
Targets next_tokens(const at::Tensor& tokens);

// Sum over the rows that count of -log p(token), float64. hidden [rows, width] times the transpose of `output` [vocab,
// width] are the logits. No gradients.
at::Tensor token_loss(const at::Tensor& hidden, const at::Tensor& output, const Targets& targets);

// The same, with `scale` times its gradients: added to output.gradient, and of `hidden` written to grad_hidden.
at::Tensor learn_tokens(const at::Tensor& hidden, const TrainedWeight& output,
                        const Targets& targets, double scale, const at::Tensor& grad_hidden);

}  // namespace seer
