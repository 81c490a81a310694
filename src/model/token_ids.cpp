#include "model/token_ids.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace seer {

void check_token_ids(std::span<const TokenId> tokens, const ModelConfig& config,
                     std::int64_t not_run) {
  if (tokens.empty()) throw std::runtime_error("no tokens: expected at least one");
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < config.vocab_size) continue;
    throw std::runtime_error(
        fmt::format("token {} is id {}: expected an id from 0 to {} (the vocabulary of {})", i,
                    tokens[i], config.vocab_size - 1, config.name));
  }
  const std::int64_t run = static_cast<std::int64_t>(tokens.size()) - not_run;
  if (run > config.max_positions) {
    throw std::runtime_error(
        fmt::format("{} tokens are too many: {} was made for at most {} (max_position_embeddings "
                    "in config.json)",
                    run, config.name, config.max_positions));
  }
}

at::Tensor token_row(std::span<const TokenId> tokens) {
  at::Tensor row = at::empty({1, static_cast<std::int64_t>(tokens.size())}, at::kLong);
  std::copy(tokens.begin(), tokens.end(), row.mutable_data_ptr<std::int64_t>());
  return row;
}

}  // namespace seer
