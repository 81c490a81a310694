// What a model says about given tokens: log-likelihood, and the likeliest continuations at chosen positions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "seer/model.h"
#include "seer/token_span.h"
#include "seer/tokenizer.h"

namespace seer {

struct ScoreOptions {
  std::vector<std::int64_t> positions;  // from 0; those to report on. Empty: the last
  // Tokens that run through the model at once; absent: Model::prefill_chunk().
  std::optional<std::int64_t> prefill_chunk;
  std::function<void()> between_chunks;  // may throw, to give up
  Attention* attention = nullptr;        // how the layers attend; null: densely
  bool likelihood = true;                // false: no nll_mean, and logits at the positions alone
  // The tokens whose predictions make the likelihood; count 0: all but the first, which nothing predicts. The logits of
  // other positions are not computed.
  TokenSpan scored;
  bool token_logprobs = false;  // report on each token of `scored`
};

// The logits after the tokens up to and including `position`.
struct PositionScore {
  std::int64_t position = 0;
  std::vector<TokenId> top_ids;  // the five likeliest, first the likeliest
  std::vector<float> top_logits;
  std::vector<float> first_logits;  // of the ids 0 to 7
  double logsumexp = 0;             // natural, over the vocabulary
};

struct SequenceScore {
  std::int64_t num_tokens = 0;
  // Natural, over ScoreOptions::scored; absent for a single token, or if not asked for.
  std::optional<double> nll_mean;
  // Of the tokens of ScoreOptions::scored, in order, if asked for: the natural logarithm of the probability, and whether
  // no token is likelier (of equals the lowest id is it).
  std::vector<float> token_logprobs;
  std::vector<bool> is_top;
  std::vector<PositionScore> positions;  // in the order asked for
  double forward_seconds = 0;            // spent in the layers, without the logits
};

// Throws std::invalid_argument for positions and options out of range, std::runtime_error for tokens that the model
// cannot take: none, an id outside its vocabulary, more than its maximum.
SequenceScore score_tokens(const Model& model, std::span<const TokenId> tokens,
                           const ScoreOptions& options);

// One line of JSON, without the line's end:
// {"model": ..., "num_tokens": ..., "nll_mean": number or null,
//  "positions": {"31": {"top5": [...], "top5_logits": [...], "first8_logits": [...], "logsumexp": ...}, ...}}
std::string score_json(const Model& model, const SequenceScore& score);

}  // namespace seer
