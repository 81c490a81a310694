// The three protocols of perplexity, on counted tokens: which tokens are in a window, and which of them count.
#include "seer/perplexity_tasks.h"

#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "eval/text_windows.h"

namespace seer {
namespace {

constexpr TokenId kBos = 0;

// Documents of 5, 12, 0 and 9 tokens: 101.., 201.., none, 401..
std::shared_ptr<const TokenStream> documents() {
  auto stream = std::make_shared<TokenStream>();
  std::int32_t hundred = 100;
  for (const std::int32_t size : {5, 12, 0, 9}) {
    stream->tokens.push_back(static_cast<std::int32_t>(kBos));
    for (std::int32_t i = 1; i <= size; ++i) stream->tokens.push_back(hundred + i);
    hundred += 100;
    ++stream->documents;
  }
  return stream;
}

std::string refusal(const EvalTask& task, std::int64_t context) {
  try {
    task.samples(context);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

void expect_words(const std::string& message, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << message << " / " << word;
  }
}

TEST(DocumentSpans, WithoutBeginOfText) {
  const std::vector<TokenSpan> spans = document_spans(*documents(), kBos);
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_EQ(spans[0].first, 1);
  EXPECT_EQ(spans[0].count, 5);
  EXPECT_EQ(spans[1].first, 7);
  EXPECT_EQ(spans[1].count, 12);
  EXPECT_EQ(spans[2].first, 21);
  EXPECT_EQ(spans[2].count, 9);

  TokenStream headless;
  headless.tokens = {7, 8};
  const std::vector<TokenSpan> one = document_spans(headless, kBos);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].first, 0);
  EXPECT_EQ(one[0].count, 2);
}

TEST(WindowPerplexity, SameWindowsAsEver) {
  const auto text = documents();
  const auto task = make_window_perplexity(text, kBos, 3);
  EXPECT_EQ(task->name(), "ppl");
  EXPECT_EQ(task->metric(), "perplexity");
  EXPECT_EQ(task->settings(), "{" + text_settings(*text) + R"(,"windows":3})");
  ASSERT_EQ(task->samples(8), 3);
  for (std::int64_t i = 0; i < 3; ++i) {
    const EvalPrompt prompt = task->prompt(8, i);
    EXPECT_EQ(prompt.tokens, text_window(*text, kBos, 8, 3, i));
    EXPECT_EQ(prompt.scored.count, 0);  // all predictions
    EXPECT_EQ(prompt.answer.count, 0);
    EXPECT_EQ(prompt.max_new_tokens, 0);
  }
  const auto recall = make_window_recall(text, kBos, 3);
  EXPECT_EQ(recall->name(), "recall");
  EXPECT_EQ(recall->prompt(8, 2).tokens, task->prompt(8, 2).tokens);
  expect_words(refusal(*task, 30), {"context 30", "30 tokens are fewer than the 31"});
  expect_words(refusal(*task, 1), {"context 1", "2 or more"});
  EXPECT_THROW(task->prompt(8, 3), std::invalid_argument);
  EXPECT_THROW(task->prompt(8, -1), std::invalid_argument);
  EXPECT_THROW(make_window_perplexity(text, kBos, 0), std::invalid_argument);
  EXPECT_THROW(make_window_perplexity(nullptr, kBos, 1), std::invalid_argument);
  EXPECT_THROW(task->score({}, ""), std::logic_error);
}

TEST(DocumentPerplexity, BeginningOfEachLongDocument) {
  DocumentPerplexityOptions options;
  options.min_tokens = 9;
  const auto task = make_document_perplexity(documents(), kBos, options);
  EXPECT_EQ(task->settings(), "{" + text_settings(*documents()) +
                                  R"(,"min_tokens":9,"documents":0,"truncate":true})");
  // The first document would fill the window, but is shorter than the minimum.
  ASSERT_EQ(task->samples(4), 2);
  EXPECT_EQ(task->prompt(4, 0).tokens, (std::vector<TokenId>{kBos, 201, 202, 203}));
  EXPECT_EQ(task->prompt(4, 1).tokens, (std::vector<TokenId>{kBos, 401, 402, 403}));
  EXPECT_EQ(task->prompt(4, 1).scored.count, 0);
  // The whole of the last one: 9 tokens behind begin-of-text.
  ASSERT_EQ(task->samples(10), 2);
  EXPECT_EQ(task->prompt(10, 1).tokens.size(), 10U);
  EXPECT_EQ(task->prompt(10, 1).tokens.back(), 409);
  EXPECT_EQ(task->samples(11), 1);
  EXPECT_EQ(task->samples(13), 1);
  expect_words(refusal(*task, 14), {"context 14", "3 documents", "13 or more", "longest has 12"});

  options.documents = 1;
  EXPECT_EQ(make_document_perplexity(documents(), kBos, options)->samples(4), 1);
}

TEST(DocumentPerplexity, WholeDocuments) {
  DocumentPerplexityOptions options;
  options.truncate = false;
  const auto task = make_document_perplexity(documents(), kBos, options);
  ASSERT_EQ(task->samples(10), 2);
  EXPECT_EQ(task->prompt(10, 0).tokens, (std::vector<TokenId>{kBos, 101, 102, 103, 104, 105}));
  EXPECT_EQ(task->prompt(10, 1).tokens.size(), 10U);
  expect_words(refusal(*task, 5), {"context 5", "1 to 4 tokens"});
  options.min_tokens = -1;
  EXPECT_THROW(make_document_perplexity(documents(), kBos, options), std::invalid_argument);
}

TEST(SlidingPerplexity, EachTokenCountsOnceBehindEnoughContext) {
  SlidingPerplexityOptions options;
  options.stride = 2;
  const auto task = make_sliding_perplexity(documents(), kBos, options);
  EXPECT_EQ(task->settings(), "{" + text_settings(*documents()) + R"(,"stride":2,"windows":0})");
  // Windows of 6 tokens: none in the first document, floor((12 - 6) / 2) + 1 = 4 and floor((9 - 6) / 2) + 1 = 2.
  ASSERT_EQ(task->samples(7), 6);
  EXPECT_EQ(task->prompt(7, 0).tokens, (std::vector<TokenId>{kBos, 201, 202, 203, 204, 205, 206}));
  EXPECT_EQ(task->prompt(7, 3).tokens, (std::vector<TokenId>{kBos, 207, 208, 209, 210, 211, 212}));
  EXPECT_EQ(task->prompt(7, 4).tokens, (std::vector<TokenId>{kBos, 401, 402, 403, 404, 405, 406}));
  std::map<TokenId, int> counted;
  for (std::int64_t i = 0; i < 6; ++i) {
    const EvalPrompt prompt = task->prompt(7, i);
    ASSERT_EQ(prompt.scored.count, 2);
    ASSERT_EQ(prompt.scored.first + prompt.scored.count, 7);
    for (std::int64_t k = 0; k < 2; ++k) {
      ++counted[prompt.tokens[static_cast<std::size_t>(prompt.scored.first + k)]];
    }
  }
  const std::map<TokenId, int> expected = {{205, 1}, {206, 1}, {207, 1}, {208, 1},
                                           {209, 1}, {210, 1}, {211, 1}, {212, 1},
                                           {405, 1}, {406, 1}, {407, 1}, {408, 1}};
  EXPECT_EQ(counted, expected);
}

TEST(SlidingPerplexity, SomeOfTheWindowsAndRefusals) {
  SlidingPerplexityOptions options;
  options.stride = 2;
  options.windows = 3;  // of 6: 0, 2, 4
  const auto task = make_sliding_perplexity(documents(), kBos, options);
  ASSERT_EQ(task->samples(7), 3);
  EXPECT_EQ(task->prompt(7, 1).tokens[1], 205);
  EXPECT_EQ(task->prompt(7, 2).tokens[1], 401);
  expect_words(refusal(*task, 14), {"context 14", "13 tokens", "longest has 12"});
  expect_words(refusal(*task, 2), {"context 2", "stride 2", "1 to 1"});
  options.stride = 0;
  EXPECT_THROW(make_sliding_perplexity(documents(), kBos, options), std::invalid_argument);
}

}  // namespace
}  // namespace seer
