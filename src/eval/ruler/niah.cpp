// Needles in a haystack: sentences that state values of keys, and a question for some of them.
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "eval/ruler/draft.h"
#include "eval/ruler/noise.h"
#include "eval/ruler/prompts.h"

namespace seer::ruler {
namespace {

// Depths of needles, as published: so many steps from the context's begin (0) to its end (1).
constexpr std::int64_t kDepths = 40;

// "a", "a, and b", "a, b, and c": as published.
std::string joined(const std::vector<std::string>& keys) {
  std::string text = keys.front();
  for (std::size_t i = 1; i < keys.size(); ++i) {
    text += i + 1 == keys.size() ? ", and " : ", ";
    text += keys[i];
  }
  return text;
}

class Niah : public Draft {
 public:
  Niah(const NiahKind& kind, const DraftSource& source, Random random)
      : form_(source.form),
        keys_(source.words, kind.uuid_keys, random.split(1)),
        values_(kind.uuid_values, random.split(2)) {
    has_uuid_values = kind.uuid_values;
    if (kind.haystack != NiahKind::Haystack::kText) filler_lead += '\n';
    const std::int64_t many = source.options.needles;
    const std::int64_t keys = kind.many_keys || kind.many_queries ? many : 1;
    const std::int64_t values = kind.many_values ? many : 1;
    answers = values * (kind.many_queries ? many : 1);
    if (keys * values > kDepths) {
      throw std::invalid_argument(fmt::format("needles {}: expected 1 to {}", many, kDepths));
    }
    Random choice = random.split(3);
    std::vector<std::int64_t> depths(kDepths);
    for (std::int64_t i = 0; i < kDepths; ++i) depths[static_cast<std::size_t>(i)] = i;
    choice.shuffle(depths);
    // Keys are drawn one after the other, and the depths are shuffled: those in front are as good as any.
    std::vector<std::string> asked;
    for (std::int64_t key_number = 0; key_number < keys; ++key_number) {
      const std::string key = keys_.next();
      const bool is_asked = kind.many_queries || key_number == 0;
      if (is_asked) asked.push_back(key);
      for (std::int64_t i = 0; i < values; ++i) {
        const std::string value = values_.next();
        if (is_asked) references.push_back(value);
        needles_.push_back({depths[needles_.size()], sentence(key, value)});
      }
    }
    if (answers == 1) depth = static_cast<double>(needles_.front().depth) / (kDepths - 1);
    query = joined(asked);
    std::sort(needles_.begin(), needles_.end(),
              [](const Needle& a, const Needle& b) { return a.depth < b.depth; });
  }

 protected:
  struct Needle {
    std::int64_t depth = 0;  // of kDepths - 1
    std::string sentence;
  };

  std::string sentence(const std::string& key, const std::string& value) const {
    return needle_sentence(form_, key, value, has_uuid_values);
  }

  // The gap of `gaps` (0: before everything) that a needle is put into.
  static std::int64_t gap_of(const Needle& needle, std::int64_t gaps) {
    return (gaps - 1) * needle.depth / (kDepths - 1);
  }

  const PromptForm& form_;
  KeyDraw keys_;
  ValueDraw values_;
  std::vector<Needle> needles_;  // by depth
};

// A unit is a sentence of noise.
class NoiseNiah : public Niah {
 public:
  using Niah::Niah;

  std::string context(std::int64_t units) override {
    const std::int64_t gaps = noise_gaps(units);
    std::vector<std::pair<std::int64_t, std::string>> inserted;
    for (const Needle& needle : needles_)
      inserted.emplace_back(gap_of(needle, gaps), needle.sentence);
    return noise_with(units, inserted);
  }
};

// A unit is another needle.
class NeedleNiah : public Niah {
 public:
  using Niah::Niah;

  std::int64_t most() const override {
    return keys_.most() - static_cast<std::int64_t>(needles_.size());
  }
  std::string limit() const override {
    return fmt::format("words: the needles of {} keys", keys_.most());
  }

  std::string context(std::int64_t units) override {
    while (static_cast<std::int64_t>(others_.size()) < units) {
      const std::string key = keys_.next();
      others_.push_back(sentence(key, values_.next()));
    }
    std::string text;
    std::size_t next = 0;
    for (std::int64_t i = 0; i <= units; ++i) {
      while (next < needles_.size() && gap_of(needles_[next], units + 1) == i) {
        add_line(text, needles_[next++].sentence);
      }
      if (i < units) add_line(text, others_[static_cast<std::size_t>(i)]);
    }
    return text;
  }

 private:
  static void add_line(std::string& text, const std::string& line) {
    if (!text.empty()) text += '\n';
    text += line;
  }

  std::vector<std::string> others_;
};

// A unit is a word of the text; needles stand between its sentences.
class TextNiah : public Niah {
 public:
  TextNiah(const NiahKind& kind, const DraftSource& source, Random random)
      : Niah(kind, source, random), text_(*source.text) {
    Random choice = random.split(4);
    start_ = next_sentence(static_cast<std::size_t>(
        choice.below(static_cast<std::int64_t>(std::max<std::size_t>(text_.text.size(), 1)))));
    cursor_ = start_;
  }

  std::int64_t most() const override { return text_.words; }
  std::string limit() const override { return fmt::format("text: its {} words", text_.words); }

  std::string context(std::int64_t units) override {
    while (static_cast<std::int64_t>(word_ends_.size()) < units) add_word();
    const std::size_t size = units == 0 ? 0 : word_ends_[static_cast<std::size_t>(units - 1)];
    std::vector<std::size_t> gaps = {0};
    for (const std::size_t end : sentence_ends_) {
      if (end < size) gaps.push_back(end);
    }
    if (size > 0) gaps.push_back(size);
    std::string text;
    std::size_t done = 0;
    const auto add = [&](std::string_view part) {
      while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
      if (part.empty()) return;
      if (!text.empty()) text += ' ';
      text += part;
    };
    for (const Needle& needle : needles_) {
      const std::size_t place =
          gaps[static_cast<std::size_t>(gap_of(needle, static_cast<std::int64_t>(gaps.size())))];
      add(std::string_view(window_).substr(done, place - done));
      add(needle.sentence);
      done = place;
    }
    add(std::string_view(window_).substr(done, size - done));
    return text;
  }

 private:
  static bool ends_sentence(std::string_view word) {
    while (!word.empty() && (word.back() == '"' || word.back() == '\'' || word.back() == ')')) {
      word.remove_suffix(1);
    }
    return !word.empty() && (word.back() == '.' || word.back() == '!' || word.back() == '?');
  }

  // Where a sentence begins at or behind `from`; at the text's end, its begin.
  std::size_t next_sentence(std::size_t from) const {
    const std::string_view text = text_.text;
    for (std::size_t blank = text.find(' ', from); blank != std::string_view::npos;
         blank = text.find(' ', blank + 1)) {
      if (ends_sentence(text.substr(from, blank - from))) return blank + 1;
    }
    return 0;
  }

  // The text goes on at its begin behind its end.
  void add_word() {
    const std::string_view text = text_.text;
    if (cursor_ >= text.size()) cursor_ = 0;
    const std::size_t end = std::min(text.find(' ', cursor_), text.size());
    const std::string_view word = text.substr(cursor_, end - cursor_);
    if (!window_.empty()) window_ += ' ';
    window_ += word;
    word_ends_.push_back(window_.size());
    if (ends_sentence(word)) sentence_ends_.push_back(window_.size());
    cursor_ = end + 1;
  }

  const RulerText& text_;
  std::size_t start_ = 0, cursor_ = 0;                  // in the text
  std::string window_;                                  // what was taken of it
  std::vector<std::size_t> word_ends_, sentence_ends_;  // in the window
};

}  // namespace

std::unique_ptr<Draft> draft_niah(const NiahKind& kind, const DraftSource& source, Random random) {
  switch (kind.haystack) {
    case NiahKind::Haystack::kNoise: return std::make_unique<NoiseNiah>(kind, source, random);
    case NiahKind::Haystack::kText: return std::make_unique<TextNiah>(kind, source, random);
    case NiahKind::Haystack::kNeedles: return std::make_unique<NeedleNiah>(kind, source, random);
  }
  throw std::logic_error("ruler: unknown haystack");
}

}  // namespace seer::ruler
