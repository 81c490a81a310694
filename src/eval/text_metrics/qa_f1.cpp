#include <algorithm>
#include <array>
#include <map>

#include "eval/text_metrics/code_points.h"
#include "seer/text_metrics.h"

namespace seer {
namespace {

using Tokens = std::vector<std::u32string>;

double f1(const Tokens& prediction, const Tokens& reference) {
  std::map<std::u32string_view, std::int64_t> left;
  for (const std::u32string& token : reference) ++left[token];
  std::int64_t shared = 0;
  for (const std::u32string& token : prediction) {
    const auto found = left.find(token);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++shared;
  }
  if (shared == 0) return 0;
  const double precision = static_cast<double>(shared) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(shared) / static_cast<double>(reference.size());
  return 2 * precision * recall / (precision + recall);
}

// Punctuation goes first: "a.m." is one word, and "the-end" is "theend".
Tokens english_tokens(std::string_view text) {
  std::u32string kept;
  for (const char32_t c : text::lower(text::code_points(text))) {
    if (!text::is_ascii_punctuation(c)) kept += c;
  }
  std::u32string without_articles;
  for (std::size_t begin = 0; begin < kept.size();) {
    if (!text::is_word(kept[begin])) {
      without_articles += kept[begin++];
      continue;
    }
    std::size_t end = begin;
    while (end < kept.size() && text::is_word(kept[end])) ++end;
    const std::u32string_view run = std::u32string_view(kept).substr(begin, end - begin);
    const bool is_article = run == U"a" || run == U"an" || run == U"the";
    without_articles += is_article ? std::u32string_view(U" ") : run;
    begin = end;
  }
  return text::words(without_articles);
}

struct Range {
  char32_t first, last;
};

// The published list. It has U+300B, the closing mark of a title, without the one that opens it.
constexpr std::array kChinesePunctuation = {
    Range{0x2013, 0x2014}, Range{0x2018, 0x2019}, Range{0x201B, 0x201F}, Range{0x2026, 0x2027},
    Range{0x3001, 0x3003}, Range{0x300B, 0x3011}, Range{0x3014, 0x301F}, Range{0x3030, 0x3030},
    Range{0x303E, 0x303F}, Range{0xFE4F, 0xFE4F}, Range{0xFF01, 0xFF0D}, Range{0xFF0F, 0xFF0F},
    Range{0xFF1A, 0xFF20}, Range{0xFF3B, 0xFF40}, Range{0xFF5B, 0xFF64}};

bool is_punctuation(char32_t c) {
  return text::is_ascii_punctuation(c) ||
         std::any_of(kChinesePunctuation.begin(), kChinesePunctuation.end(),
                     [c](const Range& range) { return c >= range.first && c <= range.last; });
}

Tokens chinese_words(std::string_view text) {
  Tokens tokens = text::chinese_tokens(text::lower(text::code_points(text)));
  std::erase_if(tokens, [](const std::u32string& token) { return is_punctuation(token.front()); });
  return tokens;
}

}  // namespace

double qa_f1(std::string_view prediction, std::string_view reference) {
  return f1(english_tokens(prediction), english_tokens(reference));
}

double qa_f1_zh(std::string_view prediction, std::string_view reference) {
  return f1(chinese_words(prediction), chinese_words(reference));
}

}  // namespace seer
