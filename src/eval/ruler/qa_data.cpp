#include "eval/ruler/qa_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string_view>

#include "base/json.h"

namespace seer::ruler {
namespace {

// Larger than the training set of either.
constexpr JsonLimits kLimits = {.max_bytes = std::size_t{1} << 30, .max_depth = 16};

constexpr std::string_view kBlanks = " \t\r\n";

std::int64_t words_of(std::string_view text) {
  std::int64_t words = 0;
  for (std::size_t begin = text.find_first_not_of(kBlanks); begin != std::string_view::npos;
       ++words) {
    begin =
        text.find_first_not_of(kBlanks, std::min(text.find_first_of(kBlanks, begin), text.size()));
  }
  return words;
}

[[noreturn]] void fail(const std::string& place, const std::string& expected) {
  throw std::runtime_error(place + ": expected " + expected);
}

const Json& member(const Json& object, const char* name, const std::string& place) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end()) {
    fail(place, fmt::format("an object with a field '{}'", name));
  }
  return *found;
}

std::string text_of(const Json& json, const std::string& place) {
  if (!json.is_string()) fail(place, "a text");
  return json.get<std::string>();
}

const Json& list_of(const Json& json, const std::string& place) {
  if (!json.is_array()) fail(place, "a list");
  return json;
}

// Each document once.
class Documents {
 public:
  explicit Documents(std::vector<std::string>& documents) : documents_(documents) {}

  std::size_t add(const std::string& document) {
    const auto [found, is_new] = numbers_.emplace(document, documents_.size());
    if (is_new) documents_.push_back(document);
    return found->second;
  }

 private:
  std::vector<std::string>& documents_;
  std::map<std::string, std::size_t> numbers_;
};

void add_once(std::vector<std::string>& texts, const std::string& text) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
}

void finish(QaData& data, const std::filesystem::path& file) {
  for (const std::string& document : data.documents) data.words.push_back(words_of(document));
  if (data.questions.empty()) fail(file.string(), "questions with answers, got none");
}

}  // namespace

std::string_view first_words(std::string_view text, std::int64_t words) {
  std::size_t end = 0;
  for (; words > 0; --words) {
    const std::size_t begin = text.find_first_not_of(kBlanks, end);
    if (begin == std::string_view::npos) break;
    end = std::min(text.find_first_of(kBlanks, begin), text.size());
  }
  return text.substr(0, end);
}

QaData read_squad(const std::filesystem::path& file) {
  QaData data;
  Documents documents(data.documents);
  const std::string source = file.string();
  const Json json = read_json_file(file, kLimits);
  if (!json.is_object() || !json.contains("data")) {
    fail(source, "SQuAD's JSON (such as dev-v2.0.json), an object with a field 'data'");
  }
  std::size_t article_number = 0;
  for (const Json& article : list_of(json["data"], source + ": data")) {
    const std::string place = fmt::format("{}: data[{}]", source, article_number++);
    const std::size_t first_question = data.questions.size();
    std::vector<std::size_t> article_documents;
    std::size_t paragraph_number = 0;
    for (const Json& paragraph :
         list_of(member(article, "paragraphs", place), place + ".paragraphs")) {
      const std::string at = fmt::format("{}.paragraphs[{}]", place, paragraph_number++);
      const std::size_t document =
          documents.add(text_of(member(paragraph, "context", at), at + ".context"));
      article_documents.push_back(document);
      for (const Json& item : list_of(member(paragraph, "qas", at), at + ".qas")) {
        const auto impossible = item.is_object() ? item.find("is_impossible") : item.end();
        if (item.is_object() && impossible != item.end() && impossible->is_boolean() &&
            impossible->get<bool>()) {
          continue;
        }
        QaQuestion question;
        question.text = text_of(member(item, "question", at + ".qas[]"), at + ".qas[].question");
        for (const Json& answer :
             list_of(member(item, "answers", at + ".qas[]"), at + ".qas[].answers")) {
          add_once(question.answers, text_of(member(answer, "text", at + ".qas[].answers[]"),
                                             at + ".qas[].answers[].text"));
        }
        question.gold = {document};
        if (!question.answers.empty()) data.questions.push_back(std::move(question));
      }
    }
    for (std::size_t i = first_question; i < data.questions.size(); ++i) {
      for (const std::size_t document : article_documents) {
        if (document != data.questions[i].gold.front())
          data.questions[i].related.push_back(document);
      }
    }
  }
  finish(data, file);
  return data;
}

QaData read_hotpotqa(const std::filesystem::path& file) {
  QaData data;
  Documents documents(data.documents);
  const std::string source = file.string();
  const Json json = read_json_file(file, kLimits);
  if (!json.is_array()) {
    fail(source, "HotpotQA's JSON (such as hotpot_dev_distractor_v1.json), a list of questions");
  }
  std::size_t number = 0;
  for (const Json& item : json) {
    const std::string place = fmt::format("{}: [{}]", source, number++);
    QaQuestion question;
    question.text = text_of(member(item, "question", place), place + ".question");
    question.answers = {text_of(member(item, "answer", place), place + ".answer")};
    for (const Json& paragraph : list_of(member(item, "context", place), place + ".context")) {
      if (!paragraph.is_array() || paragraph.size() != 2) {
        fail(place + ".context[]", "[title, [sentence, ...]]");
      }
      std::string document = text_of(paragraph[0], place + ".context[][0]") + "\n";
      for (const Json& sentence : list_of(paragraph[1], place + ".context[][1]")) {
        document += text_of(sentence, place + ".context[][1][]");
      }
      const std::size_t index = documents.add(document);
      if (std::find(question.gold.begin(), question.gold.end(), index) == question.gold.end()) {
        question.gold.push_back(index);
      }
    }
    data.questions.push_back(std::move(question));
  }
  finish(data, file);
  return data;
}

}  // namespace seer::ruler
