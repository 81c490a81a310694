// Needles as evaluation tasks: the same documents as retrieval_document(), and the grid of depths.
#include "seer/retrieval_tasks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>

#include "eval/text_windows.h"

namespace seer {
namespace {

constexpr TokenId kBos = 0;

const Tokenizer& tokenizer() {
  static const Tokenizer the_tokenizer =
      Tokenizer::load(std::filesystem::path(SEER_SOURCE_DIR) / "models" / "books-19m-32k");
  return the_tokenizer;
}

std::shared_ptr<const TokenStream> repeated_text() {
  const std::vector<TokenId> words = tokenizer().encode(" the old house by the river", false);
  auto stream = std::make_shared<TokenStream>();
  while (stream->tokens.size() < 3000)
    stream->tokens.insert(stream->tokens.end(), words.begin(), words.end());
  return stream;
}

std::string text_of(const EvalPrompt& prompt, std::int64_t first, std::int64_t count) {
  const auto begin = prompt.tokens.begin() + first;
  return tokenizer().decode(std::vector<TokenId>(begin, begin + count));
}

// The needle of the word that the document asks for.
std::string needle_of(const EvalPrompt& prompt) {
  const std::string before = text_of(prompt, 0, prompt.answer.first);
  const std::string lead = "The special magic number for ";
  const std::size_t begin = before.rfind(lead) + lead.size();
  return " One of the special magic numbers for " +
         before.substr(begin, before.rfind(" is:") - begin) +
         " is:" + text_of(prompt, prompt.answer.first, prompt.answer.count);
}

// Tokens before the needle.
std::int64_t place_of(const EvalPrompt& prompt, const std::string& needle) {
  const std::vector<TokenId> wanted = tokenizer().encode(needle, false);
  const auto found =
      std::search(prompt.tokens.begin(), prompt.tokens.end(), wanted.begin(), wanted.end());
  return found == prompt.tokens.end() ? -1 : found - prompt.tokens.begin();
}

TEST(NeedleTask, SameDocumentsAsEver) {
  NeedleTaskOptions options;
  options.needles = 3;
  options.samples = 4;
  options.seed = 9;
  const auto text = repeated_text();
  const auto task = make_needle_task(text, tokenizer(), kBos, options);
  EXPECT_EQ(task->name(), "niah");
  EXPECT_EQ(task->metric(), "retrieval");
  EXPECT_EQ(task->settings(), R"({"seed":9,)" + text_settings(*text) + R"(,"needles":3})");
  ASSERT_EQ(task->samples(500), 4);
  for (std::int64_t i = 0; i < 4; ++i) {
    RetrievalOptions retrieval;
    retrieval.length = 500;
    retrieval.needles = 3;
    retrieval.seed = 9;
    const RetrievalDocument document = retrieval_document(*text, tokenizer(), kBos, retrieval, i);
    const EvalPrompt prompt = task->prompt(500, i);
    EXPECT_EQ(prompt.tokens, document.tokens);
    EXPECT_EQ(prompt.answer.first, document.answers[0].first);
    EXPECT_EQ(prompt.answer.count, document.answers[0].count);
    ASSERT_EQ(prompt.references.size(), 1U);
    EXPECT_EQ(prompt.references[0], text_of(prompt, prompt.answer.first, prompt.answer.count));
    EXPECT_FALSE(prompt.depth.has_value());
  }
  EXPECT_THROW(task->prompt(500, 4), std::invalid_argument);
}

TEST(NeedleTask, Refusals) {
  NeedleTaskOptions options;
  const auto task = make_needle_task(repeated_text(), tokenizer(), kBos, options);
  for (const std::int64_t context : {50, 9000}) {
    try {
      task->samples(context);
      FAIL() << "expected an error for " << context;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("context " + std::to_string(context)),
                std::string::npos)
          << error.what();
    }
  }
  options.needles = 0;
  EXPECT_THROW(make_needle_task(repeated_text(), tokenizer(), kBos, options),
               std::invalid_argument);
}

TEST(NeedleTask, WordsOfTheText) {
  NeedleTaskOptions options;
  options.samples = 1;
  const auto text = repeated_text();
  const auto invented = make_needle_task(text, tokenizer(), kBos, options);
  options.words = WordSet::kText;
  const auto known = make_needle_task(text, tokenizer(), kBos, options);
  EXPECT_EQ(known->settings(),
            R"({"seed":0,)" + text_settings(*text) + R"(,"words":"text","needles":4})");
  RetrievalOptions retrieval;
  retrieval.length = 500;
  retrieval.words = WordSet::kText;
  EXPECT_EQ(known->prompt(500, 0).tokens,
            retrieval_document(*text, tokenizer(), kBos, retrieval, 0).tokens);
  EXPECT_NE(known->prompt(500, 0).tokens, invented->prompt(500, 0).tokens);
}

TEST(NeedleGrid, PlacesTheNeedleThatIsAskedFor) {
  NeedleGridOptions options;
  options.depths = 5;
  options.repeats = 2;
  const auto task = make_needle_grid(repeated_text(), tokenizer(), kBos, options);
  EXPECT_EQ(task->name(), "niah-grid");
  EXPECT_EQ(task->settings(),
            R"({"seed":0,)" + text_settings(*repeated_text()) + R"(,"needles":4,"depths":5})");
  ASSERT_EQ(task->samples(1000), 10);
  std::set<std::string> needles;
  for (std::int64_t repeat = 0; repeat < 2; ++repeat) {
    std::string needle;
    for (std::int64_t d = 0; d < 5; ++d) {
      const EvalPrompt prompt = task->prompt(1000, repeat * 5 + d);
      ASSERT_EQ(prompt.tokens.size(), 1000U);
      EXPECT_EQ(prompt.answer.first + prompt.answer.count, 1000);
      ASSERT_TRUE(prompt.depth.has_value());
      EXPECT_DOUBLE_EQ(*prompt.depth, static_cast<double>(d) / 4);
      // Samples of a repeat ask for the same.
      if (d == 0) needle = needle_of(prompt);
      EXPECT_EQ(needle_of(prompt), needle);
      const std::int64_t place = place_of(prompt, needle);
      ASSERT_GE(place, 1);
      if (d == 0) {
        EXPECT_EQ(place, 1);
      }
      if (d == 4) {
        // All the text is before it, and other needles at the same place behind it.
        const std::string question = text_of(prompt, place, 1000 - place);
        EXPECT_EQ(question.find("river"), std::string::npos) << question;
      }
      // The others take up to about 80 tokens of the 1000.
      EXPECT_NEAR(static_cast<double>(place) / 1000, static_cast<double>(d) / 4, 0.12);
    }
    needles.insert(needle);
  }
  EXPECT_EQ(needles.size(), 2U);
}

TEST(NeedleGrid, MoreRepeatsKeepTheSamplesBefore) {
  NeedleGridOptions options;
  options.depths = 3;
  options.repeats = 1;
  const auto few = make_needle_grid(repeated_text(), tokenizer(), kBos, options);
  options.repeats = 4;
  const auto many = make_needle_grid(repeated_text(), tokenizer(), kBos, options);
  EXPECT_EQ(few->settings(), many->settings());
  for (std::int64_t i = 0; i < 3; ++i)
    EXPECT_EQ(few->prompt(400, i).tokens, many->prompt(400, i).tokens);
  options.depths = 1;
  EXPECT_THROW(make_needle_grid(repeated_text(), tokenizer(), kBos, options),
               std::invalid_argument);
}

TEST(RetrievalDepth, Refusals) {
  RetrievalOptions options;
  options.length = 400;
  options.depth = 1.5;
  EXPECT_THROW(retrieval_document(*repeated_text(), tokenizer(), kBos, options, 0),
               std::invalid_argument);
  options.depth = 0.5;
  options.questions = 2;
  EXPECT_THROW(retrieval_document(*repeated_text(), tokenizer(), kBos, options, 0),
               std::invalid_argument);
}

}  // namespace
}  // namespace seer
