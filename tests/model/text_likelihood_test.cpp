// Likelihoods of continuations and of whole texts: the windows by hand, the numbers against log_softmax of each window.
#include "seer/text_likelihood.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "seer/model.h"

namespace seer {
namespace {

const std::filesystem::path kSource = SEER_SOURCE_DIR;

using Ids = std::vector<TokenId>;

Model open_model() {
  const std::filesystem::path folder = kSource / "tests" / "golden" / "parity" / "llama31";
  return Model(read_model_config(folder), Checkpoint::open(folder), {});
}

Ids random_ids(const Model& model, std::int64_t length) {
  const at::Tensor row = at::randint(model.config().vocab_size, {length}, at::kLong);
  const auto* const ids = row.const_data_ptr<TokenId>();
  return Ids(ids, ids + length);
}

// Of the last `count` tokens, from the logits of all tokens but the last.
double logprob_of_last(const Model& model, const Ids& tokens, std::int64_t count) {
  const auto length = static_cast<std::int64_t>(tokens.size());
  KvCache cache(model.config(), 1, length, at::kFloat);
  at::Tensor row = at::randint(2, {1, length - 1}, at::kLong);
  std::copy(tokens.begin(), tokens.end() - 1, row.mutable_data_ptr<TokenId>());
  const at::Tensor logprobs =
      at::log_softmax(model.logits(model.forward(row, cache))[0].to(at::kDouble), 1);
  double sum = 0;
  for (std::int64_t i = length - count; i < length; ++i) {
    sum += logprobs[i - 1][tokens[static_cast<std::size_t>(i)]].item<double>();
  }
  return sum;
}

TEST(RollingWindows, AreThoseOfTheHarnessesDescription) {
  Ids text;
  for (TokenId i = 0; i < 10; ++i) text.push_back(i);
  const std::vector<RollingWindow> windows = rolling_windows(text, 99, 4);
  ASSERT_EQ(windows.size(), 3U);
  EXPECT_EQ(windows[0].tokens, (Ids{99, 0, 1, 2, 3}));
  EXPECT_EQ(windows[1].tokens, (Ids{3, 4, 5, 6, 7}));
  EXPECT_EQ(windows[2].tokens, (Ids{5, 6, 7, 8, 9}));
  EXPECT_EQ(windows[0].scored.first, 1);
  EXPECT_EQ(windows[1].scored.first, 1);
  EXPECT_EQ(windows[2].scored.first, 3);
  EXPECT_EQ(windows[2].scored.count, 2);
}

TEST(RollingWindows, PredictEachTokenOnce) {
  for (std::int64_t length = 0; length <= 20; ++length) {
    for (std::int64_t most = 1; most <= 12; ++most) {
      Ids text;
      for (std::int64_t i = 0; i < length; ++i) text.push_back(100 + i);
      std::int64_t next = 0;
      for (const RollingWindow& window : rolling_windows(text, 7, most)) {
        SCOPED_TRACE(testing::Message() << length << " tokens, at most " << most);
        const auto size = static_cast<std::int64_t>(window.tokens.size());
        ASSERT_EQ(window.scored.first + window.scored.count, size);
        ASSERT_GE(window.scored.first, 1);
        ASSERT_GE(window.scored.count, 1);
        // As long a context as there may be.
        EXPECT_EQ(size, std::min(most, next + window.scored.count) + 1);
        for (std::int64_t i = 0; i < size; ++i) {
          const std::int64_t place = next - window.scored.first + i;
          EXPECT_EQ(window.tokens[static_cast<std::size_t>(i)], place < 0 ? 7 : 100 + place);
        }
        next += window.scored.count;
      }
      EXPECT_EQ(next, length);
    }
  }
}

TEST(TextLikelihood, EqualsLogSoftmax) {
  const Model model = open_model();
  const std::int64_t most = model.config().max_positions;
  LikelihoodOptions options;
  for (const auto& [context, continuation, max_length] :
       std::vector<std::tuple<std::int64_t, std::int64_t, std::int64_t>>{{1, 1, most},
                                                                         {10, 5, most},
                                                                         {70, 64, most},
                                                                         {5, 5, 9},
                                                                         {6, 5, 9},
                                                                         {30, 9, 9},
                                                                         {30, 1, 1},
                                                                         {most, 1, most},
                                                                         {most, 2, most},
                                                                         {3, most, most}}) {
    SCOPED_TRACE(testing::Message() << context << " and " << continuation << " of " << max_length);
    const Ids before = random_ids(model, context);
    const Ids after = random_ids(model, continuation);
    options.max_length = max_length;
    const TextLikelihood found = continuation_likelihood(model, before, after, options);
    Ids all = before;
    all.insert(all.end(), after.begin(), after.end());
    const std::int64_t excess = context + continuation - max_length - 1;
    if (excess > 0) all.erase(all.begin(), all.begin() + excess);
    EXPECT_NEAR(found.logprob, logprob_of_last(model, all, continuation),
                2e-5 * static_cast<double>(continuation));
    EXPECT_EQ(found.tokens, continuation);
    EXPECT_EQ(found.truncated, excess > 0);
  }
  for (const std::int64_t length : {1, 8, 9, 20}) {
    const Ids text = random_ids(model, length);
    options.max_length = 8;
    options.prefix = 2;
    double expected = 0;
    for (const RollingWindow& window : rolling_windows(text, 2, 8)) {
      expected += logprob_of_last(model, window.tokens, window.scored.count);
    }
    const TextLikelihood found = rolling_likelihood(model, text, options);
    EXPECT_NEAR(found.logprob, expected, 1e-4) << length << " tokens";
    EXPECT_EQ(found.tokens, length);
  }
  EXPECT_EQ(rolling_likelihood(model, {}, options).logprob, 0);
}

TEST(TextLikelihood, KnowsWhatIsGreedy) {
  const Model model = open_model();
  const Ids context = random_ids(model, 12);
  Ids all = context;
  for (int i = 0; i < 4; ++i) {
    all.push_back(score_tokens(model, all, {}).positions.at(0).top_ids.at(0));
  }
  Ids continuation(all.begin() + 12, all.end());
  LikelihoodOptions options;
  options.max_length = 100;
  EXPECT_TRUE(continuation_likelihood(model, context, continuation, options).is_greedy);
  continuation[2] = continuation[2] == 0 ? 1 : 0;
  EXPECT_FALSE(continuation_likelihood(model, context, continuation, options).is_greedy);
}

TEST(TextLikelihood, RefusesWhatCannotBe) {
  const Model model = open_model();
  LikelihoodOptions options;
  EXPECT_THROW(continuation_likelihood(model, Ids{1}, Ids{1}, options), std::invalid_argument);
  options.max_length = model.config().max_positions + 1;
  EXPECT_THROW(rolling_likelihood(model, Ids{1}, options), std::invalid_argument);
  options.max_length = 4;
  EXPECT_THROW(continuation_likelihood(model, Ids{}, Ids{1}, options), std::runtime_error);
  EXPECT_THROW(continuation_likelihood(model, Ids{1}, Ids{}, options), std::runtime_error);
  EXPECT_THROW(continuation_likelihood(model, Ids{1}, Ids{1, 1, 1, 1, 1}, options),
               std::runtime_error);
  EXPECT_THROW(continuation_likelihood(model, Ids{1}, Ids{-1}, options), std::runtime_error);
}

// The bundled model's tokenizer puts <|begin_of_text|> (0) before a text.
class Encoding : public testing::Test {
 protected:
  const Tokenizer tokenizer = Tokenizer::load(kSource / "models" / "books-19m-32k");
  LikelihoodOptions options;

  Ids plain(const std::string& text) const { return tokenizer.encode(text, false); }
};

TEST_F(Encoding, SplitsWhatTheTwoHaveTogether) {
  const auto [context, continuation] =
      encode_continuation(tokenizer, "She looked at the", " sea.", options);
  EXPECT_EQ(context, tokenizer.encode("She looked at the"));
  EXPECT_EQ(continuation, plain(" sea."));
  // White space at the context's end belongs to the continuation, whatever it is.
  for (const std::string space : {" ", "\n", " \n\t", "\u00a0", "\u3000 "}) {
    const auto [before, after] =
        encode_continuation(tokenizer, "She looked at the" + space, "sea.", options);
    EXPECT_EQ(before, context);
    Ids all = before;
    all.insert(all.end(), after.begin(), after.end());
    EXPECT_EQ(all, tokenizer.encode("She looked at the" + space + "sea."));
  }
}

TEST_F(Encoding, PutsThePrefixBeforeTextWithoutContext) {
  const auto [context, continuation] = encode_continuation(tokenizer, "", "The sea", options);
  EXPECT_EQ(context, Ids{0});
  EXPECT_EQ(continuation, plain("The sea"));
  const std::string bos = tokenizer.decode(Ids{0});
  const auto [before, after] = encode_continuation(tokenizer, "", bos + "The sea", options);
  EXPECT_EQ(before, Ids{0});
  EXPECT_EQ(after, plain("The sea"));
  EXPECT_EQ(encode_continuation(tokenizer, "", "", options).second, Ids{});
  options.add_special_tokens = false;
  EXPECT_EQ(encode_continuation(tokenizer, " ", "sea", options),
            std::make_pair(Ids{0}, plain(" sea")));
}

TEST_F(Encoding, PutsThePrefixOnce) {
  const std::string bos = tokenizer.decode(Ids{0});
  EXPECT_EQ(encode_context(tokenizer, bos + "The sea", options), tokenizer.encode("The sea"));
  EXPECT_EQ(encode_context(tokenizer, "The sea", options), tokenizer.encode("The sea"));
  options.add_special_tokens = false;
  EXPECT_EQ(encode_context(tokenizer, "The sea", options), plain("The sea"));
}

}  // namespace
}  // namespace seer
