// How likely a text is behind another one, and a whole text by windows, in the manner of lm-evaluation-harness: its
// numbers for a model of the transformers library are these.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "seer/model.h"
#include "seer/score.h"
#include "seer/token_span.h"
#include "seer/tokenizer.h"

namespace seer {

struct LikelihoodOptions {
  // Of tokens that one prediction looks at; at least 1, at most the model's.
  std::int64_t max_length = 0;
  // Begin-of-text, or what stands for it: what the first token of a text is predicted from.
  TokenId prefix = 0;
  // Whether the tokenizer's special tokens are put around text, unless it begins with the prefix already. A tokenizer that
  // puts begin-of-text in front makes it a token of the text: rolling windows predict it too.
  bool add_special_tokens = true;
  // Of these prefill_chunk, between_chunks and attention are looked at.
  ScoreOptions score;
};

struct TextLikelihood {
  double logprob = 0;       // natural, the sum over the tokens predicted
  bool is_greedy = true;    // whether each of them is the likeliest at its place
  std::int64_t tokens = 0;  // predicted
  bool truncated = false;   // whether the context was cut on the left
};

// The tokens of a text as a context or prompt.
std::vector<TokenId> encode_context(const Tokenizer& tokenizer, std::string_view text,
                                    const LikelihoodOptions& options);

// The tokens of a context, at least one, and those of its continuation. White space at the context's end belongs to the
// continuation, and the continuation's tokens are those that the two together have after the context's own.
std::pair<std::vector<TokenId>, std::vector<TokenId>> encode_continuation(
    const Tokenizer& tokenizer, std::string_view context, std::string_view continuation,
    const LikelihoodOptions& options);

// Throws std::invalid_argument for options out of range, std::runtime_error for an empty context or continuation, for a
// continuation of more than options.max_length tokens, and for tokens that the model does not have.
TextLikelihood continuation_likelihood(const Model& model, std::span<const TokenId> context,
                                       std::span<const TokenId> continuation,
                                       const LikelihoodOptions& options);

// A part of a text with the prefix in front: `tokens`, in which those of `scored` are predicted.
struct RollingWindow {
  std::vector<TokenId> tokens;  // at most max_length + 1, as the last is not looked at
  TokenSpan scored;
};

// Windows that predict each token of `text` once: the first max_length, then the next, and the rest from as long a context
// as there may be.
std::vector<RollingWindow> rolling_windows(std::span<const TokenId> text, TokenId prefix,
                                           std::int64_t max_length);

// Sums over rolling_windows(); 0 for no tokens. Throws as continuation_likelihood().
TextLikelihood rolling_likelihood(const Model& model, std::span<const TokenId> text,
                                  const LikelihoodOptions& options);

}  // namespace seer
