// Questions with the documents that answer them, from the files of SQuAD and HotpotQA.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace seer::ruler {

// The begin of the text with this many words, or all of it.
std::string_view first_words(std::string_view text, std::int64_t words);

struct QaQuestion {
  std::string text;
  std::vector<std::string> answers;
  std::vector<std::size_t> gold;     // documents that are always shown
  std::vector<std::size_t> related;  // of the same article: the first to be shown beside them
};

struct QaData {
  std::vector<std::string> documents;
  std::vector<std::int64_t> words;  // of each document: what stands between blanks
  std::vector<QaQuestion> questions;
};

// {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers": [{"text"}], "is_impossible"?}]}]}]}; questions
// without an answer are left out. Throws std::runtime_error naming file and field.
QaData read_squad(const std::filesystem::path& file);

// [{"question", "answer", "context": [[title, [sentence, ...]], ...]}]
QaData read_hotpotqa(const std::filesystem::path& file);

}  // namespace seer::ruler
