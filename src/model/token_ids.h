// Token ids on their way into a model.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "seer/config.h"
#include "seer/tokenizer.h"

namespace seer {

// Throws std::runtime_error when there is none, when an id is outside the vocabulary, or when there are more than the
// model has positions; the last `not_run` tokens need none.
void check_token_ids(std::span<const TokenId> tokens, const ModelConfig& config,
                     std::int64_t not_run = 0);

// int64 [1, length], a copy.
at::Tensor token_row(std::span<const TokenId> tokens);

}  // namespace seer
