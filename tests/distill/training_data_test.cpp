// Streams from files, windows and retrieval documents.
#include "seer/training_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "support/model_files.h"

namespace seer {
namespace {

using test::runtime_error_of;
using test::TemporaryFolder;

const Tokenizer& tokenizer() {
  static const Tokenizer loaded =
      Tokenizer::load(std::filesystem::path(SEER_SOURCE_DIR) / "models" / "books-19m-32k");
  return loaded;
}

constexpr TokenId kBos = 0;
constexpr std::int64_t kVocab = 8192;

TokenStream read(const std::vector<std::string>& paths, const std::string& field = "text") {
  return read_token_stream({.paths = paths, .json_field = field}, tokenizer(), kBos, kVocab);
}

TEST(TokenStream, PutsDocumentsBehindEachOther) {
  const TemporaryFolder folder;
  folder.write("b.txt", "Second.");
  folder.write("a.txt", "First one.");
  folder.write(".hidden", "never");
  folder.write("c.jsonl", "{\"text\": \"Third.\"}\n\n{\"text\": \"Fourth.\", \"x\": 1}\n");
  folder.write("d.json", "[[0, 5, 6], [7]]");
  const TokenStream stream = read({folder.path().string()});
  std::vector<std::int32_t> expected;
  for (const char* text : {"First one.", "Second.", "Third.", "Fourth."}) {
    expected.push_back(kBos);
    for (const TokenId id : tokenizer().encode(text, false))
      expected.push_back(static_cast<std::int32_t>(id));
  }
  for (const std::int32_t id : {0, 5, 6, 0, 7}) expected.push_back(id);
  EXPECT_EQ(stream.tokens, expected);
  EXPECT_EQ(stream.documents, 6);
}

TEST(TokenStream, RefusesWhatIsNoText) {
  const TemporaryFolder folder;
  folder.write("empty.txt", "");
  folder.write("binary.txt", std::string("ab\0cd", 5));
  folder.write("latin.txt", "caf\xe9");
  folder.write("field.jsonl", "{\"text\": \"good\"}\n{\"body\": \"x\"}\n");
  folder.write("broken.jsonl", "{\"text\": \n");
  folder.write("ids.json", "[1, 99999]");
  std::filesystem::create_directory(folder.path() / "none");
  const auto message = [&](const char* name) {
    return runtime_error_of([&] { read({(folder.path() / name).string()}); });
  };
  EXPECT_NE(message("empty.txt").find("empty.txt: the file is empty"), std::string::npos);
  EXPECT_NE(message("binary.txt").find("zero byte"), std::string::npos);
  EXPECT_NE(message("latin.txt").find("latin.txt"), std::string::npos);
  EXPECT_NE(message("field.jsonl").find("field.jsonl:2"), std::string::npos);
  EXPECT_NE(message("field.jsonl").find("--field"), std::string::npos);
  EXPECT_NE(message("broken.jsonl").find("broken.jsonl:1"), std::string::npos);
  EXPECT_NE(message("ids.json").find("99999"), std::string::npos);
  EXPECT_NE(message("none").find("no files"), std::string::npos);
  EXPECT_NE(message("missing").find("no such file"), std::string::npos);
}

TokenStream counting_stream(std::int32_t size) {
  TokenStream stream;
  for (std::int32_t i = 0; i < size; ++i) stream.tokens.push_back(300 + i % 7000);
  return stream;
}

TEST(PackedData, TakesEveryWindowOnceInEachRound) {
  const auto data =
      make_packed_data(counting_stream(1000), tokenizer(), kBos, {.retrieval_share = 0, .seed = 4});
  std::vector<TokenId> order;
  for (std::int64_t round = 0; round < 2; ++round) {
    std::set<TokenId> seen;
    for (std::int64_t i = 0; i < 10; ++i) {
      const std::vector<TokenId> window = data->sequence(round * 10 + i, 100);
      ASSERT_EQ(window.size(), 100u);
      EXPECT_EQ(window[0], kBos);
      EXPECT_EQ(window[99] - window[1], 98);
      seen.insert(window[1]);
      order.push_back(window[1]);
    }
    EXPECT_EQ(seen.size(), 10u);
  }
  EXPECT_NE(std::vector<TokenId>(order.begin(), order.begin() + 10),
            std::vector<TokenId>(order.begin() + 10, order.end()));
  const auto other =
      make_packed_data(counting_stream(1000), tokenizer(), kBos, {.retrieval_share = 0, .seed = 5});
  EXPECT_NE(data->fingerprint(), other->fingerprint());
  EXPECT_EQ(data->sequence(3, 100), data->sequence(3, 100));
  EXPECT_THROW(data->sequence(0, 1001), std::invalid_argument);
}

TEST(PackedData, MixesRetrievalDocumentsOfExactLength) {
  const auto data = make_packed_data(counting_stream(20000), tokenizer(), kBos,
                                     {.retrieval_share = 0.25, .questions = 14, .seed = 1});
  const std::string question = "What is the special magic number for";
  std::int64_t documents = 0;
  for (std::int64_t i = 0; i < 8; ++i) {
    const std::vector<TokenId> tokens = data->sequence(i, 4096);
    ASSERT_EQ(tokens.size(), 4096u);
    const std::string text = tokenizer().decode(tokens);
    std::int64_t questions = 0;
    for (std::size_t at = text.find(question); at != std::string::npos;
         at = text.find(question, at + 1)) {
      ++questions;
      // Its statement stands before it, with the number of the answer.
      const std::size_t word_begin = at + question.size() + 1;
      const std::string word = text.substr(word_begin, text.find(' ', word_begin) - word_begin);
      const std::string statement = "One of the special magic numbers for " + word + " is: ";
      const std::size_t stated = text.find(statement);
      ASSERT_NE(stated, std::string::npos) << word;
      EXPECT_LT(stated, at);
      const std::string number = text.substr(stated + statement.size(), 7);
      const std::size_t answer = text.find(" is: ", at);
      EXPECT_EQ(text.substr(answer + 5, 7), number);
    }
    documents += questions > 0;
    if (questions > 0) {
      EXPECT_EQ(questions, 7);  // 14 in 8,192 tokens
    }
  }
  EXPECT_EQ(documents, 2);
}

TEST(PackedData, ChecksOptions) {
  EXPECT_THROW(make_packed_data(counting_stream(100), tokenizer(), kBos, {.retrieval_share = 1.5}),
               std::invalid_argument);
  EXPECT_THROW(make_packed_data(counting_stream(100), tokenizer(), kBos, {.questions = 0}),
               std::invalid_argument);
}

TEST(SplitStream, HoldsOutTheEnd) {
  const SplitStream split = split_stream(counting_stream(1000), 100);
  EXPECT_EQ(split.train.tokens.size(), 800u);
  EXPECT_EQ(split.held_out.tokens.size(), 200u);
  EXPECT_EQ(split.held_out.tokens.front(), 300 + 800);
}

}  // namespace
}  // namespace seer
