// Questions of SQuAD and HotpotQA among documents that answer others.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "eval/ruler/draft.h"

namespace seer::ruler {
namespace {

// A unit is a word of the documents around the right ones.
class Qa : public Draft {
 public:
  Qa(const QaData& data, std::int64_t index, Random random) : data_(data) {
    Random order = random.split(1);
    const QaQuestion& question = data.questions[static_cast<std::size_t>(index)];
    query = question.text;
    references = question.answers;
    shown_ = question.gold;
    gold_ = shown_.size();
    std::vector<std::size_t> related = question.related;
    random.shuffle(related);
    std::unordered_set<std::size_t> taken(shown_.begin(), shown_.end());
    const auto show = [&](const std::vector<std::size_t>& documents) {
      for (const std::size_t document : documents) {
        if (taken.insert(document).second) shown_.push_back(document);
      }
    };
    show(related);
    std::vector<std::size_t> others(data.documents.size());
    for (std::size_t i = 0; i < others.size(); ++i) others[i] = i;
    random.shuffle(others);
    show(others);
    for (std::size_t i = 0; i < shown_.size(); ++i) keys_.push_back(order.next());
    for (std::size_t i = gold_; i < shown_.size(); ++i) most_ += data.words[shown_[i]];
  }

  std::int64_t most() const override { return most_; }
  std::string limit() const override {
    return fmt::format("all {} documents of its file", data_.documents.size());
  }

  std::string context(std::int64_t units) override {
    // Documents beside the right ones as long as there are words left; the last is cut behind a word.
    std::vector<std::pair<std::uint64_t, std::string_view>> documents;
    for (std::size_t i = 0; i < shown_.size(); ++i) {
      std::string_view document = data_.documents[shown_[i]];
      if (i >= gold_) {
        if (units == 0) break;
        const std::int64_t words = data_.words[shown_[i]];
        if (words > units) document = first_words(document, units);
        units -= std::min(words, units);
      }
      documents.emplace_back(keys_[i], document);
    }
    std::sort(documents.begin(), documents.end());
    std::string text;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      text += fmt::format("{}Document {}:\n{}", i == 0 ? "" : "\n\n", i + 1, documents[i].second);
    }
    return text;
  }

 private:
  const QaData& data_;
  std::vector<std::size_t> shown_;  // the right ones, those of their article, all others
  std::size_t gold_ = 0;
  std::vector<std::uint64_t> keys_;  // by which the documents are sorted
  std::int64_t most_ = 0;
};

}  // namespace

std::unique_ptr<Draft> draft_qa(const DraftSource& source, std::int64_t index, Random random) {
  return std::make_unique<Qa>(*source.qa, index, random);
}

}  // namespace seer::ruler
