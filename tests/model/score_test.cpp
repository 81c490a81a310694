// The likelihood of spans of tokens, against log_softmax over the whole sequence's logits.
#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include "seer/model.h"
#include "seer/score.h"

namespace seer {
namespace {

constexpr std::int64_t kLength = 150;

class ScoredSpan : public testing::Test {
 protected:
  ScoredSpan() {
    const at::Tensor row = at::randint(model.config().vocab_size, {1, kLength}, at::kLong);
    const auto* const ids = row.const_data_ptr<TokenId>();
    tokens.assign(ids, ids + kLength);
    KvCache cache(model.config(), 1, kLength, at::kFloat);
    const at::Tensor logits = model.logits(model.forward(row, cache))[0];
    logprobs = at::log_softmax(logits.to(at::kDouble), 1);
    likeliest = at::argmax(logits, 1);
  }

  double logprob(std::int64_t token) const {
    return logprobs[token - 1][tokens[static_cast<std::size_t>(token)]].item<double>();
  }

  void expect_span(const ScoreOptions& options, std::int64_t first, std::int64_t count) const {
    SCOPED_TRACE(testing::Message() << count << " tokens from " << first << ", chunk "
                                    << options.prefill_chunk.value_or(0));
    const SequenceScore score = score_tokens(model, tokens, options);
    ASSERT_EQ(score.token_logprobs.size(), static_cast<std::size_t>(count));
    ASSERT_EQ(score.is_top.size(), static_cast<std::size_t>(count));
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(i);
      // Chunks sum in another order.
      EXPECT_NEAR(score.token_logprobs[index], logprob(first + i), 2e-5);
      EXPECT_EQ(score.is_top[index], likeliest[first + i - 1].item<TokenId>() ==
                                         tokens[static_cast<std::size_t>(first + i)]);
      sum -= logprob(first + i);
    }
    EXPECT_NEAR(*score.nll_mean, sum / static_cast<double>(count), 2e-5);
  }

  static Model open() {
    const std::filesystem::path folder =
        std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "parity" / "qwen3";
    return Model(read_model_config(folder), Checkpoint::open(folder), {});
  }

  const Model model = open();
  std::vector<TokenId> tokens;
  at::Tensor logprobs;   // float64 [kLength, vocab_size], of what follows each position
  at::Tensor likeliest;  // [kLength]
};

TEST_F(ScoredSpan, EqualsLogSoftmax) {
  for (const std::int64_t chunk : {1, 7, 64, 150, 2048}) {
    ScoreOptions options;
    options.prefill_chunk = chunk;
    options.token_logprobs = true;
    expect_span(options, 1, kLength - 1);
    for (const TokenSpan span : {TokenSpan{1, 1}, TokenSpan{1, 149}, TokenSpan{149, 1},
                                 TokenSpan{63, 3}, TokenSpan{64, 64}, TokenSpan{65, 20}}) {
      options.scored = span;
      expect_span(options, span.first, span.count);
    }
  }
}

TEST_F(ScoredSpan, KnowsTheLikeliest) {
  for (std::int64_t token = 10; token < 20; token += 2) {
    std::vector<TokenId> changed = tokens;
    const TokenId top = likeliest[token - 1].item<TokenId>();
    const auto at = static_cast<std::size_t>(token);
    ScoreOptions options;
    options.token_logprobs = true;
    options.scored = {.first = token, .count = 1};
    changed[at] = top;
    EXPECT_TRUE(score_tokens(model, changed, options).is_top.at(0));
    changed[at] = top == 0 ? 1 : 0;
    EXPECT_FALSE(score_tokens(model, changed, options).is_top.at(0));
  }
}

TEST_F(ScoredSpan, LeavesThePositionsAsTheyAre) {
  ScoreOptions options;
  options.prefill_chunk = 40;
  options.positions = {149, 0, 70, 39, 40};
  const SequenceScore all = score_tokens(model, tokens, options);
  options.scored = {.first = 60, .count = 20};
  const SequenceScore some = score_tokens(model, tokens, options);
  EXPECT_TRUE(some.token_logprobs.empty());
  EXPECT_TRUE(some.is_top.empty());
  EXPECT_GT(std::abs(*some.nll_mean - *all.nll_mean), 1e-4);
  for (std::size_t i = 0; i < options.positions.size(); ++i) {
    EXPECT_EQ(some.positions[i].position, options.positions[i]);
    EXPECT_EQ(some.positions[i].top_ids, all.positions[i].top_ids);
    EXPECT_NEAR(some.positions[i].logsumexp, all.positions[i].logsumexp, 1e-5);
  }
}

TEST_F(ScoredSpan, IsAbsentWhereNothingIsScored) {
  ScoreOptions options;
  options.token_logprobs = true;
  const std::vector<TokenId> one = {3};
  EXPECT_FALSE(score_tokens(model, one, options).nll_mean.has_value());
  EXPECT_TRUE(score_tokens(model, one, options).token_logprobs.empty());
  options.likelihood = false;
  EXPECT_FALSE(score_tokens(model, tokens, options).nll_mean.has_value());
  EXPECT_TRUE(score_tokens(model, tokens, options).token_logprobs.empty());
}

TEST_F(ScoredSpan, IsWithinTheSequence) {
  for (const TokenSpan span : {TokenSpan{0, 1}, TokenSpan{-1, 2}, TokenSpan{1, 150},
                               TokenSpan{150, 1}, TokenSpan{5, -1}, TokenSpan{5, INT64_MAX}}) {
    ScoreOptions options;
    options.scored = span;
    EXPECT_THROW(score_tokens(model, tokens, options), std::invalid_argument)
        << span.count << " from " << span.first;
  }
}

}  // namespace
}  // namespace seer
