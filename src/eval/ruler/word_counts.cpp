// Words that occur most often: in a numbered list (cwe), and in a coded text (fwe).
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "eval/ruler/draft.h"
#include "eval/ruler/prompts.h"

namespace seer::ruler {
namespace {

std::string numbered(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += fmt::format("{}{}. {}", i == 0 ? "" : " ", i + 1, words[i]);
  }
  return text;
}

struct Repeats {
  std::int64_t common = 0, other = 0;
};

constexpr std::int64_t kCommonWords = 10;

// A unit is an entry of the list beside those of the common words.
class CommonWords : public Draft {
 public:
  CommonWords(const DraftSource& source, std::int64_t context_length, Random random)
      : words_(source.words, random.split(1)), shuffle_(random.split(2)) {
    // As published: the list and its solved example are smaller below 4,096 tokens.
    const bool is_short = context_length < 4096;
    const Repeats solved = is_short ? Repeats{3, 1} : Repeats{10, 3};
    const std::int64_t solved_words = is_short ? 20 : 40;
    repeats_ = is_short ? Repeats{6, 1} : Repeats{30, 3};
    answers = kCommonWords;

    std::vector<std::string> common, others;
    for (std::int64_t i = 0; i < kCommonWords; ++i) common.push_back(words_.next());
    for (std::int64_t i = kCommonWords; i < solved_words; ++i) others.push_back(words_.next());
    const std::int64_t entries = static_cast<std::int64_t>(others.size()) * solved.other;
    const FilledPrompt filled = fill(source.form, *this);
    example = filled.before + list(common, others, solved, entries, random.split(3)) +
              filled.after + (source.form.is_built_in ? " " : "") + filled.answer_prefix + " " +
              numbered(common) + "\n\n";
    for (std::int64_t i = 0; i < kCommonWords; ++i) references.push_back(words_.next());
    drawn_ = solved_words + kCommonWords;
  }

  // As many other words as common ones.
  std::int64_t least() const override { return kCommonWords * repeats_.other; }
  std::int64_t most() const override {
    return std::max(least(), (words_.most() - drawn_) * repeats_.other);
  }
  std::string limit() const override {
    return fmt::format("words: the list's {} words", words_.most());
  }

  std::string context(std::int64_t units) override {
    const std::int64_t others = (units + repeats_.other - 1) / repeats_.other;
    while (static_cast<std::int64_t>(others_.size()) < others) others_.push_back(words_.next());
    return list(references, others_, repeats_, units, shuffle_);
  }

 private:
  // `entries` of the others: the last may stand there less often.
  static std::string list(const std::vector<std::string>& common,
                          const std::vector<std::string>& others, const Repeats& repeats,
                          std::int64_t entries, Random random) {
    std::vector<std::string> words;
    for (const std::string& word : common) {
      words.insert(words.end(), static_cast<std::size_t>(repeats.common), word);
    }
    for (std::int64_t i = 0; i < entries; ++i) {
      words.push_back(others[static_cast<std::size_t>(i / repeats.other)]);
    }
    random.shuffle(words);
    return numbered(words);
  }

  WordDraw words_;
  Random shuffle_;
  Repeats repeats_;
  std::vector<std::string> others_;
  std::int64_t drawn_ = 0;
};

// Word k of the vocabulary (from 1) stands floor(units * k^-2 / zeta(2)) times in the text; the first is "...", which is
// no word.
class FrequentWords : public Draft {
 public:
  FrequentWords(std::int64_t context_length, Random random) : shuffle_(random.split(1)) {
    constexpr int kWordLength = 6;
    // As published; never fewer than what is asked for and the words that follow.
    const std::int64_t size = std::max<std::int64_t>(context_length / 50, 20);
    std::set<std::string> seen;
    vocabulary_ = {"..."};
    while (static_cast<std::int64_t>(vocabulary_.size()) < size) {
      std::string word;
      for (int i = 0; i < kWordLength; ++i) word += static_cast<char>('a' + random.below(26));
      if (seen.insert(word).second) vocabulary_.push_back(word);
    }
    references = {vocabulary_[1], vocabulary_[2], vocabulary_[3]};
    answers = 3;
  }

  // From here on the counts of words 4 and 5 differ: units / zeta(2) * (1/16 - 1/25) is above 1.
  std::int64_t least() const override { return 100; }

  std::string context(std::int64_t units) override {
    constexpr double kZeta2 = 1.6449340668482264;  // pi^2 / 6
    std::vector<const std::string*> words;
    for (std::size_t i = 0; i < vocabulary_.size(); ++i) {
      const auto rank = static_cast<double>(i + 1);
      const auto count =
          static_cast<std::size_t>(static_cast<double>(units) / (rank * rank * kZeta2));
      if (count == 0) break;
      words.insert(words.end(), count, &vocabulary_[i]);
    }
    Random random = shuffle_;
    random.shuffle(words);
    std::string text;
    for (const std::string* const word : words) {
      if (!text.empty()) text += ' ';
      text += *word;
    }
    return text;
  }

 private:
  Random shuffle_;
  std::vector<std::string> vocabulary_;
};

}  // namespace

std::unique_ptr<Draft> draft_cwe(const DraftSource& source, std::int64_t context, Random random) {
  return std::make_unique<CommonWords>(source, context, random);
}

std::unique_ptr<Draft> draft_fwe(std::int64_t context, Random random) {
  return std::make_unique<FrequentWords>(context, random);
}

}  // namespace seer::ruler
