#include "seer/text_likelihood.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace seer {
namespace {

void check_options(const Model& model, const LikelihoodOptions& options) {
  const std::int64_t most = model.config().max_positions;
  if (options.max_length < 1 || options.max_length > most) {
    throw std::invalid_argument(fmt::format("max length: expected 1 to {} (the model's), got {}",
                                            most, options.max_length));
  }
}

// White space as Python's str.rstrip() knows it, in UTF-8.
constexpr std::string_view kSpaces[] = {"\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",
                                        "\x1d",   "\x1e",   "\x1f",   " ",      "\u0085", "\u00a0",
                                        "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
                                        "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                        "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

// How long a text is without the white space at its end.
std::size_t stripped_size(std::string_view text) {
  for (;;) {
    const auto* const space =
        std::find_if(std::begin(kSpaces), std::end(kSpaces),
                     [&](std::string_view candidate) { return text.ends_with(candidate); });
    if (space == std::end(kSpaces)) return text.size();
    text.remove_suffix(space->size());
  }
}

// The likelihood of the tokens of `scored`, behind the others.
TextLikelihood span_likelihood(const Model& model, std::span<const TokenId> tokens,
                               TokenSpan scored, const LikelihoodOptions& options) {
  ScoreOptions score = options.score;
  score.positions.clear();
  score.likelihood = true;
  score.scored = scored;
  score.token_logprobs = true;
  score.run_last = false;
  const SequenceScore result = score_tokens(model, tokens, score);
  TextLikelihood likelihood;
  for (const float logprob : result.token_logprobs) likelihood.logprob += logprob;
  likelihood.is_greedy =
      std::all_of(result.is_top.begin(), result.is_top.end(), [](bool is_top) { return is_top; });
  likelihood.tokens = scored.count;
  return likelihood;
}

}  // namespace

std::vector<TokenId> encode_context(const Tokenizer& tokenizer, std::string_view text,
                                    const LikelihoodOptions& options) {
  const std::string prefix = tokenizer.decode({&options.prefix, 1});
  const bool begins = !prefix.empty() && text.starts_with(prefix);
  return tokenizer.encode(text, options.add_special_tokens && !begins);
}

std::pair<std::vector<TokenId>, std::vector<TokenId>> encode_continuation(
    const Tokenizer& tokenizer, std::string_view context, std::string_view continuation,
    const LikelihoodOptions& options) {
  if (context.empty()) {
    std::vector<TokenId> tokens = tokenizer.encode(continuation, /*add_special_tokens=*/false);
    if (tokens.empty() || tokens.front() != options.prefix) return {{options.prefix}, tokens};
    return {{options.prefix}, {tokens.begin() + 1, tokens.end()}};
  }
  std::string whole(context);
  whole += continuation;
  const std::vector<TokenId> all = encode_context(tokenizer, whole, options);
  std::vector<TokenId> tokens =
      encode_context(tokenizer, context.substr(0, stripped_size(context)), options);
  const auto count = std::min(tokens.size(), all.size());
  std::vector<TokenId> rest(all.begin() + static_cast<std::ptrdiff_t>(count), all.end());
  // White space alone, and a tokenizer that puts nothing in front.
  if (tokens.empty()) tokens.push_back(options.prefix);
  return {std::move(tokens), std::move(rest)};
}

TextLikelihood continuation_likelihood(const Model& model, std::span<const TokenId> context,
                                       std::span<const TokenId> continuation,
                                       const LikelihoodOptions& options) {
  check_options(model, options);
  if (context.empty()) throw std::runtime_error("context: no tokens: expected at least one");
  if (continuation.empty()) {
    throw std::runtime_error("continuation: no tokens: expected at least one");
  }
  const auto count = static_cast<std::int64_t>(continuation.size());
  if (count > options.max_length) {
    throw std::runtime_error(fmt::format(
        "continuation: {} tokens are too many: expected at most {}", count, options.max_length));
  }
  // The last token is predicted and not looked at.
  const std::size_t room = static_cast<std::size_t>(options.max_length + 1 - count);
  const std::span<const TokenId> kept = context.last(std::min(room, context.size()));
  std::vector<TokenId> tokens(kept.begin(), kept.end());
  tokens.insert(tokens.end(), continuation.begin(), continuation.end());
  const TokenSpan scored = {.first = static_cast<std::int64_t>(kept.size()), .count = count};
  TextLikelihood likelihood = span_likelihood(model, tokens, scored, options);
  likelihood.truncated = kept.size() < context.size();
  return likelihood;
}

std::vector<RollingWindow> rolling_windows(std::span<const TokenId> text, TokenId prefix,
                                           std::int64_t max_length) {
  std::vector<TokenId> all = {prefix};
  all.insert(all.end(), text.begin(), text.end());
  const auto end_of_all = static_cast<std::int64_t>(all.size());
  std::vector<RollingWindow> windows;
  for (std::int64_t next = 1; next < end_of_all;) {
    const std::int64_t end = std::min(next + max_length, end_of_all);
    const std::int64_t begin = std::max<std::int64_t>(0, end - max_length - 1);
    windows.push_back({.tokens = {all.begin() + begin, all.begin() + end},
                       .scored = {.first = next - begin, .count = end - next}});
    next = end;
  }
  return windows;
}

TextLikelihood rolling_likelihood(const Model& model, std::span<const TokenId> text,
                                  const LikelihoodOptions& options) {
  check_options(model, options);
  TextLikelihood sum;
  for (const RollingWindow& window : rolling_windows(text, options.prefix, options.max_length)) {
    const TextLikelihood part = span_likelihood(model, window.tokens, window.scored, options);
    sum.logprob += part.logprob;
    sum.is_greedy = sum.is_greedy && part.is_greedy;
    sum.tokens += part.tokens;
  }
  return sum;
}

}  // namespace seer
