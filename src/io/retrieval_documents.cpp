#include "seer/retrieval_documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/fnv1a.h"

namespace seer {
namespace {

// SplitMix64: small, and the same everywhere, which the standard distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t state) : state_(state) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // 0 <= result < limit. The remainder's bias is limit / 2^64.
  std::int64_t below(std::int64_t limit) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(limit));
  }

 private:
  std::uint64_t state_;
};

std::string syllables(Random& random) {
  static constexpr std::array kOnsets = {"b", "d", "f", "g", "h", "k",  "l",  "m",  "n", "p",
                                         "r", "s", "t", "v", "w", "br", "st", "tr", "pl"};
  static constexpr std::array kVowels = {"a", "e", "i", "o", "u"};
  static constexpr std::array kCodas = {"", "n", "r", "l", "s", "m", "t"};
  const auto pick = [&](const auto& from) {
    return from[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(from.size())))];
  };
  std::string word;
  const std::int64_t count = 2 + random.below(2);
  for (std::int64_t i = 0; i < count; ++i) {
    word += pick(kOnsets);
    word += pick(kVowels);
  }
  return word + pick(kCodas);
}

// Lower-case words between blanks, each once, in alphabetical order.
std::vector<std::string> words_of(const std::string& text) {
  constexpr std::size_t kShortest = 4, kLongest = 10;
  std::set<std::string> words;
  std::size_t begin = text.find(' ');
  while (begin != std::string::npos) {
    const std::size_t end = text.find(' ', begin + 1);
    if (end == std::string::npos) break;
    const std::string word = text.substr(begin + 1, end - begin - 1);
    const bool is_word =
        word.size() >= kShortest && word.size() <= kLongest &&
        std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (is_word) words.insert(word);
    begin = end;
  }
  return {words.begin(), words.end()};
}

void check_options(const RetrievalOptions& options) {
  if (options.needles < 1) {
    throw std::invalid_argument(fmt::format("needles {}: expected 1 or more", options.needles));
  }
  if (options.questions < 1 || options.questions > options.needles) {
    throw std::invalid_argument(fmt::format("questions {}: expected 1 to {}, the number of needles",
                                            options.questions, options.needles));
  }
  if (options.questions_inside < 0 || options.questions_inside > options.questions) {
    throw std::invalid_argument(
        fmt::format("questions inside the text {}: expected 0 to {}, the number of questions",
                    options.questions_inside, options.questions));
  }
  if (!options.depth) return;
  if (!(*options.depth >= 0 && *options.depth <= 1)) {
    throw std::invalid_argument(fmt::format("depth {}: expected 0 to 1", *options.depth));
  }
  if (options.questions != 1 || options.questions_inside != 0) {
    throw std::invalid_argument(
        fmt::format("depth {}: expected one question, at the end; got {} questions, {} inside the "
                    "text",
                    *options.depth, options.questions, options.questions_inside));
  }
}

// What is put into the text: tokens before which `place` tokens of text stand, and where in them an answer begins.
struct Insertion {
  std::int64_t place = 0;
  std::vector<TokenId> tokens;
  std::int64_t answer_tokens = 0;  // the last ones; 0: no question
};

class Builder {
 public:
  Builder(const TokenStream& text, const Tokenizer& tokenizer, const RetrievalOptions& options,
          Random random)
      : tokenizer_(tokenizer), options_(options), random_(random) {
    if (options.words == WordSet::kText) text_words_ = some_words(text);
  }

  // In the order of the document; `text_tokens` become known here.
  std::vector<Insertion> insertions(std::int64_t& text_tokens) {
    std::vector<Insertion> needles, questions;
    std::int64_t taken = 1;  // bos
    for (std::int64_t i = 0; i < options_.needles; ++i) {
      const std::string word = new_word();
      const std::string value = new_number();
      needles.push_back({.place = 0,
                         .tokens = encode(fmt::format(
                             " One of the special magic numbers for {} is: {}.", word, value)),
                         .answer_tokens = 0});
      taken += size_of(needles.back());
      if (i < options_.questions) {
        questions.push_back(question(word, value));
        taken += size_of(questions.back());
      }
      if (taken > options_.length) {
        throw std::invalid_argument(fmt::format(
            "retrieval document of {} tokens: {} needles and {} questions alone take more: ask for "
            "a longer one, or for fewer of them",
            options_.length, options_.needles, options_.questions));
      }
    }
    text_tokens = options_.length - taken;
    return placed(std::move(needles), std::move(questions), text_tokens);
  }

 private:
  static std::int64_t size_of(const Insertion& insertion) {
    return static_cast<std::int64_t>(insertion.tokens.size());
  }

  std::vector<TokenId> encode(const std::string& text) const {
    return tokenizer_.encode(text, /*add_special_tokens=*/false);
  }

  Insertion question(const std::string& word, const std::string& value) const {
    Insertion result;
    result.tokens =
        encode(fmt::format("\n\nWhat is the special magic number for {0} mentioned in the text? "
                           "The special magic number for {0} is:",
                           word));
    const std::vector<TokenId> answer = encode(fmt::format(" {}.", value));
    result.tokens.insert(result.tokens.end(), answer.begin(), answer.end());
    result.answer_tokens = static_cast<std::int64_t>(answer.size());
    return result;
  }

  // Of a piece of the text somewhere.
  std::vector<std::string> some_words(const TokenStream& text) {
    constexpr std::int64_t kPiece = 8192;
    const auto size = static_cast<std::int64_t>(text.tokens.size());
    const std::int64_t count = std::min(kPiece, size);
    const auto first = text.tokens.begin() + random_.below(size - count + 1);
    const std::vector<TokenId> piece(first, first + count);
    return words_of(tokenizer_.decode(piece, /*skip_special_tokens=*/true));
  }

  std::string new_word() {
    // A text with few words is helped out with invented ones.
    while (!text_words_.empty()) {
      const auto index =
          static_cast<std::size_t>(random_.below(static_cast<std::int64_t>(text_words_.size())));
      std::swap(text_words_[index], text_words_.back());
      std::string word = std::move(text_words_.back());
      text_words_.pop_back();
      if (words_.insert(word).second) return word;
    }
    const WordSet set = options_.words == WordSet::kText ? WordSet::kTraining : options_.words;
    for (;;) {
      std::string word = invented_word(set, random_.next());
      if (words_.insert(word).second) return word;
    }
  }

  std::string new_number() {
    for (;;) {
      std::string number = std::to_string(1000000 + random_.below(9000000));
      if (numbers_.insert(number).second) return number;
    }
  }

  // Questions are those of the first needles, whose places are random: any of the needles is asked for.
  std::vector<Insertion> placed(std::vector<Insertion> needles, std::vector<Insertion> questions,
                                std::int64_t text_tokens) {
    std::vector<Insertion> all;
    for (std::size_t i = 0; i < needles.size(); ++i) {
      needles[i].place = random_.below(text_tokens + 1);
      if (i >= questions.size()) continue;
      const bool is_inside = static_cast<std::int64_t>(i) < options_.questions_inside;
      if (options_.depth) {
        // After the draw, so that what is drawn later is the same at every depth.
        needles[i].place = std::llround(*options_.depth * static_cast<double>(text_tokens));
      }
      questions[i].place =
          is_inside ? needles[i].place + random_.below(text_tokens - needles[i].place + 1)
                    : text_tokens;
    }
    // The sort is stable: needles before questions at the same place.
    std::move(needles.begin(), needles.end(), std::back_inserter(all));
    std::move(questions.begin(), questions.end(), std::back_inserter(all));
    std::stable_sort(all.begin(), all.end(),
                     [](const Insertion& a, const Insertion& b) { return a.place < b.place; });
    return all;
  }

  const Tokenizer& tokenizer_;
  const RetrievalOptions& options_;
  Random random_;
  std::vector<std::string> text_words_;    // not used yet
  std::set<std::string> words_, numbers_;  // used
};

}  // namespace

std::string invented_word(WordSet set, std::uint64_t draw) {
  Random random(draw);
  // The hash's lowest bit says which set a word belongs to.
  const std::uint64_t wanted = set == WordSet::kTraining ? 0 : 1;
  for (;;) {
    std::string word = syllables(random);
    if ((fnv1a(word) & 1) == wanted) return word;
  }
}

RetrievalDocument retrieval_document(const TokenStream& text, const Tokenizer& tokenizer,
                                     TokenId bos, const RetrievalOptions& options,
                                     std::int64_t index) {
  check_options(options);
  Random random(options.seed);
  for (const std::int64_t part : {index, options.length}) {
    random = Random(random.next() ^ static_cast<std::uint64_t>(part));
  }
  std::int64_t text_tokens = 0;
  const std::vector<Insertion> insertions =
      Builder(text, tokenizer, options, Random(random.next())).insertions(text_tokens);
  const auto available = static_cast<std::int64_t>(text.tokens.size());
  if (available < text_tokens) {
    throw std::invalid_argument(
        fmt::format("text: {} tokens are fewer than the {} that a retrieval document of {} needs: "
                    "give more text, or ask for a smaller length",
                    available, text_tokens, options.length));
  }

  const auto source = text.tokens.begin() + random.below(available - text_tokens + 1);
  RetrievalDocument document;
  document.tokens.reserve(static_cast<std::size_t>(options.length));
  document.tokens.push_back(bos);
  std::int64_t done = 0;
  const auto copy_until = [&](std::int64_t place) {
    document.tokens.insert(document.tokens.end(), source + done, source + place);
    done = place;
  };
  for (const Insertion& insertion : insertions) {
    copy_until(insertion.place);
    document.tokens.insert(document.tokens.end(), insertion.tokens.begin(), insertion.tokens.end());
    if (insertion.answer_tokens == 0) continue;
    document.answers.push_back(
        {.first = static_cast<std::int64_t>(document.tokens.size()) - insertion.answer_tokens,
         .count = insertion.answer_tokens});
  }
  copy_until(text_tokens);
  return document;
}

}  // namespace seer
