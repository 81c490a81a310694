// Continues token sequences: sampling, stop strings, streaming.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "seer/model.h"
#include "seer/tokenizer.h"

namespace seer {

// Order and meaning are those of transformers' logits processors: repetition penalty, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  double temperature = 0;  // 0: greedy, the likeliest token (the lowest id of equals)
  std::int64_t top_k = 0;  // only the k likeliest, with those equal to the last of them; 0: all
  double top_p = 1;        // only the fewest likeliest whose probabilities reach this
  double min_p = 0;        // only those at least this share of the likeliest's probability
  double repetition_penalty =
      1;  // divides positive and multiplies negative logits of tokens in the context
  std::uint64_t seed = 0;
};

// Picks tokens; the same seed, logits and contexts give the same tokens on every machine with the same logits.
class Sampler {
 public:
  // Throws std::invalid_argument that names the option out of range.
  explicit Sampler(const SamplingOptions& options);
  // logits [vocab_size] are used up as scratch. Throws std::runtime_error where no logit is a number.
  TokenId pick(std::span<float> logits, std::span<const TokenId> context);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
};

struct GenerateOptions {
  SamplingOptions sampling;
  std::int64_t max_new_tokens = 256;
  std::vector<std::string> stop;  // generation ends before the first of these in the text
  // Tokens of a prompt that run at once; absent: Model::prefill_chunk().
  std::optional<std::int64_t> prefill_chunk = std::nullopt;
};

enum class FinishReason { kEndToken, kStopString, kMaxNewTokens, kContextFull, kInterrupted };

std::string_view finish_reason_name(
    FinishReason reason);  // "end", "stop", "length", "context", "interrupted"

struct Generated {
  std::vector<TokenId> tokens;  // the new ones, an end token included
  std::string text;  // of these, without special tokens and stop string; empty without a tokenizer
  FinishReason finish = FinishReason::kMaxNewTokens;
  std::int64_t prompt_tokens = 0;
  std::int64_t reused_tokens = 0;  // of the prompt, found in the cache
  double seconds_to_first_token = 0;
  double decode_seconds = 0;  // from the first new token to the last
};

struct GenerateCallbacks {
  std::function<void(std::string_view)> on_text;  // text as it becomes final; may be empty
  std::function<void(TokenId)> on_token;          // may be empty
  std::function<bool()> should_stop;              // asked between steps; may be empty
};

// Continues prompts of one conversation: what a prompt shares with the tokens before is not computed again.
class Generator {
 public:
  // `model`, `tokenizer` and `attention` must outlive the generator. Without a tokenizer (null) there is no text and no
  // stop strings; without an attention (null) prompts are dense.
  Generator(const Model& model, const Tokenizer* tokenizer, Attention* attention = nullptr);

  // Throws std::invalid_argument for options, std::runtime_error for a prompt that the model cannot take.
  Generated run(std::span<const TokenId> prompt, const GenerateOptions& options,
                const GenerateCallbacks& callbacks);

 private:
  // Runs what the cache lacks of `tokens`; the logits after the last, or none when asked to stop.
  std::optional<std::vector<float>> prefill(std::span<const TokenId> tokens, std::int64_t capacity,
                                            const GenerateOptions& options,
                                            const GenerateCallbacks& callbacks, Generated& result);
  std::vector<float> step(std::span<const TokenId> tokens);

  const Model& model_;
  const Tokenizer* tokenizer_;
  Attention* attention_;
  std::optional<KvCache> cache_;
  std::vector<TokenId> cached_;  // the tokens in the cache
};

}  // namespace seer
