// Retrieval documents: exact lengths, and that each question can be answered from the text before it.
#include "seer/retrieval_documents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>

namespace seer {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer the_tokenizer =
      Tokenizer::load(std::filesystem::path(SEER_SOURCE_DIR) / "models" / "books-19m-32k");
  return the_tokenizer;
}

// Ids of ordinary words: what of a document is this and what was put in can be told apart.
TokenStream repeated_text(std::size_t size) {
  const std::vector<TokenId> words = tokenizer().encode(" the old house by the river", false);
  TokenStream stream;
  while (stream.tokens.size() < size)
    stream.tokens.insert(stream.tokens.end(), words.begin(), words.end());
  stream.tokens.resize(size);
  return stream;
}

std::string text_of(const std::vector<TokenId>& tokens, std::int64_t first, std::int64_t end) {
  return tokenizer().decode(std::vector<TokenId>(tokens.begin() + first, tokens.begin() + end));
}

std::int64_t count_of(const std::string& text, const std::string& part) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// The word that the text before an answer asks for.
std::string word_asked_for(const std::string& before) {
  const std::string lead = "The special magic number for ";
  const std::size_t begin = before.rfind(lead) + lead.size();
  return before.substr(begin, before.rfind(" is:") - begin);
}

void expect_answerable(const RetrievalDocument& document) {
  for (const TokenSpan& answer : document.answers) {
    const std::string before = text_of(document.tokens, 0, answer.first);
    const std::string value = text_of(document.tokens, answer.first, answer.first + answer.count);
    ASSERT_TRUE(before.ends_with(" is:")) << before.substr(before.size() - 40);
    ASSERT_EQ(value.size(), 9U) << value;  // blank, seven digits, full stop
    const std::string needle =
        " One of the special magic numbers for " + word_asked_for(before) + " is:" + value;
    EXPECT_EQ(count_of(before, needle), 1) << needle;
  }
}

TEST(RetrievalDocuments, ExactLengthWithTheQuestionAtTheEnd) {
  const TokenStream text = repeated_text(5000);
  for (const std::int64_t length : {150, 151, 152, 256, 1000, 4096}) {
    RetrievalOptions options;
    options.length = length;
    for (std::int64_t index = 0; index < 5; ++index) {
      const RetrievalDocument document = retrieval_document(text, tokenizer(), 0, options, index);
      ASSERT_EQ(static_cast<std::int64_t>(document.tokens.size()), length);
      EXPECT_EQ(document.tokens.front(), 0);
      ASSERT_EQ(document.answers.size(), 1U);
      EXPECT_EQ(document.answers[0].first + document.answers[0].count, length);
      const std::string all = text_of(document.tokens, 0, length);
      EXPECT_EQ(count_of(all, " One of the special magic numbers for "), 4);
      EXPECT_EQ(count_of(all, "What is the special magic number for "), 1);
      expect_answerable(document);
    }
  }
}

TEST(RetrievalDocuments, ManyQuestionsInTheText) {
  RetrievalOptions options;
  options.length = 3000;
  options.needles = 12;
  options.questions = 10;
  options.questions_inside = 7;
  for (const WordSet words : {WordSet::kTraining, WordSet::kText}) {
    options.words = words;
    const RetrievalDocument document =
        retrieval_document(repeated_text(9000), tokenizer(), 0, options, 3);
    ASSERT_EQ(document.tokens.size(), 3000U);
    ASSERT_EQ(document.answers.size(), 10U);
    expect_answerable(document);
    EXPECT_TRUE(std::is_sorted(document.answers.begin(), document.answers.end(),
                               [](const auto& a, const auto& b) { return a.first < b.first; }));
    EXPECT_LT(document.answers.front().first, 2500);
  }
}

TEST(RetrievalDocuments, SameNumberSameDocument) {
  const TokenStream text = repeated_text(5000);
  RetrievalOptions options;
  options.length = 600;
  std::set<std::vector<TokenId>> documents;
  for (std::int64_t index = 0; index < 10; ++index) {
    const RetrievalDocument one = retrieval_document(text, tokenizer(), 0, options, index);
    const RetrievalDocument other = retrieval_document(text, tokenizer(), 0, options, index);
    EXPECT_EQ(one.tokens, other.tokens);
    documents.insert(one.tokens);
  }
  options.seed = 1;
  documents.insert(retrieval_document(text, tokenizer(), 0, options, 0).tokens);
  EXPECT_EQ(documents.size(), 11U);
}

TEST(RetrievalDocuments, WordSetsHaveNoWordInCommon) {
  std::set<std::string> training, evaluation, both;
  for (std::uint64_t draw = 0; draw < 3000; ++draw) {
    training.insert(invented_word(WordSet::kTraining, draw));
    evaluation.insert(invented_word(WordSet::kEvaluation, draw));
  }
  EXPECT_GT(training.size(), 2500U);
  EXPECT_GT(evaluation.size(), 2500U);
  std::set_intersection(training.begin(), training.end(), evaluation.begin(), evaluation.end(),
                        std::inserter(both, both.end()));
  EXPECT_TRUE(both.empty());
  for (const std::string& word : evaluation) {
    EXPECT_GE(word.size(), 4U);
    EXPECT_TRUE(std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; }));
  }
}

TEST(RetrievalDocuments, Refusals) {
  const TokenStream text = repeated_text(300);
  const auto refusal = [&](const RetrievalOptions& options) {
    try {
      retrieval_document(text, tokenizer(), 0, options, 0);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal({.length = 100}).find("100 tokens: 4 needles and 1 questions"),
            std::string::npos);
  EXPECT_NE(refusal({.length = 100, .needles = INT64_MAX}).find("alone take more"),
            std::string::npos);
  EXPECT_NE(refusal({.length = 1000}).find("text: 300 tokens are fewer"), std::string::npos);
  EXPECT_NE(refusal({.needles = 0}).find("needles 0"), std::string::npos);
  EXPECT_NE(refusal({.questions = 5}).find("questions 5: expected 1 to 4"), std::string::npos);
  EXPECT_NE(refusal({.questions_inside = 2}).find("inside the text 2"), std::string::npos);
}

}  // namespace
}  // namespace seer
