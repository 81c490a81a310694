#include "distill/retrieval_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string>
#include <utility>

namespace seer {
namespace {

// The standard distributions may differ between libraries.
double uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

std::size_t below(std::size_t limit, std::mt19937_64& random) {
  return std::min(limit - 1,
                  static_cast<std::size_t>(uniform(random) * static_cast<double>(limit)));
}

// Lower-case words between blanks, each once, in alphabetical order.
std::vector<std::string> words_of(const std::string& text) {
  constexpr std::size_t kShortest = 4, kLongest = 10;
  std::set<std::string> words;
  for (std::size_t begin = text.find(' '); begin != std::string::npos;) {
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

std::string number(std::mt19937_64& random) {
  return std::to_string(1000000 + below(9000000, random));
}

// Tokens that go into the text at a place, a share of its length.
struct Insertion {
  double place;
  std::vector<TokenId> tokens;
};

}  // namespace

std::vector<TokenId> make_retrieval_document(std::span<const std::int32_t> filler,
                                             std::int64_t length, std::int64_t questions,
                                             TokenId bos, const Tokenizer& tokenizer,
                                             std::mt19937_64& random) {
  const auto encode = [&](const std::string& text) {
    return tokenizer.encode(text, /*add_special_tokens=*/false);
  };
  const std::vector<TokenId> text(filler.begin(), filler.begin() + length);
  std::vector<std::string> words = words_of(tokenizer.decode(text, /*skip_special_tokens=*/true));

  // At most half of the document, so that the distances are those of a long text.
  std::int64_t room = (length - 1) / 2;
  std::vector<Insertion> insertions;
  for (std::int64_t i = 0; i < questions && !words.empty(); ++i) {
    const std::size_t index = below(words.size(), random);
    const std::string word = std::exchange(words[index], words.back());
    words.pop_back();
    const std::string value = number(random);
    std::vector<TokenId> statement =
        encode(fmt::format(" One of the special magic numbers for {} is: {}.", word, value));
    std::vector<TokenId> question =
        encode(fmt::format("\n\nWhat is the special magic number for {0} mentioned in the text? "
                           "The special magic number for {0} is:",
                           word));
    const std::vector<TokenId> answer = encode(fmt::format(" {}.", value));
    question.insert(question.end(), answer.begin(), answer.end());
    const auto taken = static_cast<std::int64_t>(statement.size() + question.size());
    if (taken > room) break;
    room -= taken;
    const double one = uniform(random), other = uniform(random);
    insertions.push_back({std::min(one, other), std::move(statement)});
    insertions.push_back({std::max(one, other), std::move(question)});
  }
  std::stable_sort(insertions.begin(), insertions.end(),
                   [](const Insertion& a, const Insertion& b) { return a.place < b.place; });

  std::int64_t text_tokens = length - 1;
  for (const Insertion& insertion : insertions)
    text_tokens -= static_cast<std::int64_t>(insertion.tokens.size());
  std::vector<TokenId> document = {bos};
  document.reserve(static_cast<std::size_t>(length));
  std::int64_t done = 0;
  const auto copy_to = [&](std::int64_t end) {
    document.insert(document.end(), text.begin() + done, text.begin() + end);
    done = end;
  };
  for (const Insertion& insertion : insertions) {
    copy_to(static_cast<std::int64_t>(insertion.place * static_cast<double>(text_tokens)));
    document.insert(document.end(), insertion.tokens.begin(), insertion.tokens.end());
  }
  copy_to(text_tokens);
  return document;
}

}  // namespace seer
