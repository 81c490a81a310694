// What the tests of RULER's tasks share.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "seer/retrieval_documents.h"
#include "seer/ruler.h"
#include "support/model_files.h"

namespace seer::test {

inline const std::filesystem::path kSource = SEER_SOURCE_DIR;

inline const Tokenizer& bundled_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(kSource / "models" / "books-19m-32k");
  return tokenizer;
}

inline constexpr TokenId kBos = 0;  // of the bundled tokenizer

// Sentences of invented words: enough for 131,072 tokens.
inline std::shared_ptr<const RulerText> made_up_text() {
  static const std::shared_ptr<const RulerText> made = [] {
    std::string text;
    for (std::uint64_t i = 0; i < 60000; ++i) {
      std::string word = invented_word(WordSet::kTraining, i);
      const bool is_first = i % 9 == 0;
      if (is_first) word[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
      text += word + (i % 9 == 8 ? ".\n" : " ");
    }
    return ruler_text(text);
  }();
  return made;
}

// Of this process alone: test programs run side by side.
inline const std::filesystem::path& temporary_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

inline std::filesystem::path write_file(const std::string& name, const std::string& text) {
  const std::filesystem::path file = temporary_folder() / name;
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

// Articles of SQuAD's form with `paragraphs` paragraphs each; the answer stands in its paragraph alone.
inline std::filesystem::path made_up_squad(int articles, int paragraphs) {
  nlohmann::ordered_json data = nlohmann::ordered_json::array();
  for (int a = 0; a < articles; ++a) {
    nlohmann::ordered_json article;
    for (int p = 0; p < paragraphs; ++p) {
      const int number = a * paragraphs + p;
      std::string context = "Of place " + std::to_string(number) + " it is told";
      for (int w = 0; w < 60; ++w) {
        context.append(" ").append(
            invented_word(WordSet::kTraining, static_cast<std::uint64_t>(number * 60 + w)));
      }
      context += ". Its founder was Person" + std::to_string(1000 + number) + ".";
      nlohmann::ordered_json question = {
          {"question", "Who founded place " + std::to_string(number) + "?"},
          {"answers",
           {{{"text", "Person" + std::to_string(1000 + number)}},
            {{"text", "Person" + std::to_string(1000 + number)}}}},
          {"is_impossible", false}};
      nlohmann::ordered_json impossible = {
          {"question", "Who sank place " + std::to_string(number) + "?"},
          {"answers", nlohmann::ordered_json::array()},
          {"is_impossible", true}};
      article["paragraphs"].push_back({{"context", context}, {"qas", {question, impossible}}});
    }
    data.push_back(article);
  }
  return write_file("squad.json",
                    nlohmann::ordered_json{{"version", "v2.0"}, {"data", data}}.dump());
}

inline std::filesystem::path made_up_hotpotqa(int questions) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (int q = 0; q < questions; ++q) {
    nlohmann::ordered_json context = nlohmann::ordered_json::array();
    for (int d = 0; d < 3; ++d) {
      std::vector<std::string> sentences;
      for (int s = 0; s < 4; ++s) {
        std::string sentence = s == 0 ? "Here" : " Then";
        for (int w = 0; w < 10; ++w) {
          sentence.append(" ").append(invented_word(
              WordSet::kTraining, static_cast<std::uint64_t>(((q * 3 + d) * 4 + s) * 10 + w)));
        }
        sentences.push_back(sentence + ".");
      }
      if (d == 1) sentences.push_back(" The answer is Thing" + std::to_string(1000 + q) + ".");
      context.push_back({"Title " + std::to_string(q * 3 + d), sentences});
    }
    list.push_back({{"question", "What is answer " + std::to_string(q) + "?"},
                    {"answer", "Thing" + std::to_string(1000 + q)},
                    {"context", context}});
  }
  return write_file("hotpotqa.json", list.dump());
}

inline RulerOptions some_options() {
  RulerOptions options;
  options.samples = 4;
  options.squad = made_up_squad(20, 8);
  options.hotpotqa = made_up_hotpotqa(60);
  return options;
}

inline std::unique_ptr<RulerTask> bundled_task(const std::string& name,
                                               const RulerOptions& options = some_options()) {
  return make_ruler_task(name, bundled_tokenizer(), kBos, made_up_text(), options);
}

inline std::int64_t count_of(const std::string& text, const std::string& part) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// The part between the two; the last `begin` counts.
inline std::string between(const std::string& text, const std::string& begin,
                           const std::string& end) {
  const std::size_t from = text.rfind(begin);
  EXPECT_NE(from, std::string::npos) << begin;
  const std::size_t to = text.find(end, from);
  EXPECT_NE(to, std::string::npos) << end;
  return text.substr(from + begin.size(), to - from - begin.size());
}

inline std::vector<std::string> words_in(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

template <typename Exception, typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace seer::test
