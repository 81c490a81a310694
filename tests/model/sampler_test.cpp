#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "model/stop_strings.h"
#include "seer/generate.h"

namespace seer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TokenId greedy(std::vector<float> logits, const SamplingOptions& options = {},
               const std::vector<TokenId>& context = {}) {
  return Sampler(options).pick(logits, context);
}

// How often each token is picked in 4,000 draws.
std::map<TokenId, int> draws(const std::vector<float>& logits, const SamplingOptions& options) {
  Sampler sampler(options);
  std::map<TokenId, int> counts;
  for (int i = 0; i < 4000; ++i) {
    std::vector<float> scratch = logits;
    ++counts[sampler.pick(scratch, {})];
  }
  return counts;
}

std::set<TokenId> drawn(const std::vector<float>& logits, const SamplingOptions& options) {
  std::set<TokenId> tokens;
  for (const auto& [token, count] : draws(logits, options)) tokens.insert(token);
  return tokens;
}

// Probabilities 0.5, 0.25, 0.15, 0.1.
const std::vector<float> kLogits = {std::log(0.5F), std::log(0.25F), std::log(0.15F),
                                    std::log(0.1F)};

TEST(Sampler, GreedyTakesTheLikeliestAndTheLowestOfEquals) {
  EXPECT_EQ(greedy({1, 3, 2}), 1);
  EXPECT_EQ(greedy({1, 3, 3}), 1);
  EXPECT_EQ(greedy({-kInfinity, -5, std::nanf("")}), 1);
}

TEST(Sampler, RefusesLogitsWithoutNumbers) {
  EXPECT_THROW(greedy({std::nanf(""), std::nanf("")}), std::runtime_error);
  EXPECT_THROW(greedy({-kInfinity, -kInfinity}), std::runtime_error);
}

TEST(Sampler, FollowsTheProbabilities) {
  const std::map<TokenId, int> counts = draws(kLogits, {.temperature = 1, .seed = 1});
  EXPECT_NEAR(counts.at(0), 2000, 130);  // four standard deviations
  EXPECT_NEAR(counts.at(1), 1000, 110);
  EXPECT_NEAR(counts.at(2), 600, 91);
  EXPECT_NEAR(counts.at(3), 400, 76);
}

TEST(Sampler, TemperatureSharpens) {
  // At 0.5 probabilities are squared: 0.25, 0.0625, 0.0225, 0.01 of 0.345.
  const std::map<TokenId, int> counts = draws(kLogits, {.temperature = 0.5, .seed = 2});
  EXPECT_NEAR(counts.at(0), 2899, 113);
}

TEST(Sampler, TopKKeepsTheLikeliestAndEqualsOfTheLast) {
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_k = 2}), (std::set<TokenId>{0, 1}));
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_k = 100}).size(), 4U);
  EXPECT_EQ(drawn({2, 1, 1, 0}, {.temperature = 1, .top_k = 2}), (std::set<TokenId>{0, 1, 2}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_p = 0.7}), (std::set<TokenId>{0, 1}));
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_p = 0.8}), (std::set<TokenId>{0, 1, 2}));
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_p = 0.01}), (std::set<TokenId>{0}));
}

TEST(Sampler, MinPIsAShareOfTheHighest) {
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .min_p = 0.4}), (std::set<TokenId>{0, 1}));
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .min_p = 1}), (std::set<TokenId>{0}));
}

TEST(Sampler, TopKComesBeforeTopP) {
  // Of the two left, 0 has 2/3 >= 0.6: alone. Without top-k it would need 1 as well.
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_k = 2, .top_p = 0.6}), (std::set<TokenId>{0}));
  EXPECT_EQ(drawn(kLogits, {.temperature = 1, .top_p = 0.6}), (std::set<TokenId>{0, 1}));
}

TEST(Sampler, RepetitionPenaltyCountsATokenOnce) {
  EXPECT_EQ(greedy({4, 3}, {.repetition_penalty = 1.5}, {0}), 1);
  // Once: 4 / 1.2 is above 3; twice it would be below.
  EXPECT_EQ(greedy({4, 3}, {.repetition_penalty = 1.2}, {0, 0}), 0);
  EXPECT_EQ(greedy({-1, -1.5}, {.repetition_penalty = 2}, {0}), 1);
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  const SamplingOptions options{.temperature = 1.3, .seed = 77};
  EXPECT_EQ(draws(kLogits, options), draws(kLogits, options));
  EXPECT_NE(draws(kLogits, options), draws(kLogits, {.temperature = 1.3, .seed = 78}));
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = -1}, SamplingOptions{.temperature = std::nan("")},
        SamplingOptions{.top_k = -1}, SamplingOptions{.top_p = 0}, SamplingOptions{.top_p = 1.1},
        SamplingOptions{.min_p = -0.1}, SamplingOptions{.min_p = 2},
        SamplingOptions{.repetition_penalty = 0}}) {
    EXPECT_THROW(Sampler{options}, std::invalid_argument);
  }
}

TEST(StopStrings, HoldsBackWhatMayBeginOne) {
  StopStrings stop({"END", "\n\n"});
  EXPECT_EQ(stop.push("abc\n"), "abc");
  EXPECT_EQ(stop.push("E"), "\n");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("x"), "ENx");
  EXPECT_EQ(stop.push("yEN"), "y");
  EXPECT_FALSE(stop.found());
  EXPECT_EQ(stop.push("D and more"), "");
  EXPECT_TRUE(stop.found());
  EXPECT_EQ(stop.push("never"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopStrings, TheFirstInTheTextCounts) {
  StopStrings stop({"world", "lo"});
  EXPECT_EQ(stop.push("hello world"), "hel");
  EXPECT_TRUE(stop.found());
}

TEST(StopStrings, GivesBackAtTheEnd) {
  StopStrings stop({"aab"});
  EXPECT_EQ(stop.push("aaaa"), "aa");
  EXPECT_EQ(stop.finish(), "aa");
  EXPECT_FALSE(stop.found());
  EXPECT_THROW(StopStrings({""}), std::invalid_argument);
}

}  // namespace
}  // namespace seer
