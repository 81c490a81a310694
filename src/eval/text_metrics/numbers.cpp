#include <algorithm>
#include <optional>
#include <stdexcept>

#include "base/quote.h"
#include "eval/text_metrics/code_points.h"
#include "seer/text_metrics.h"

namespace seer {
namespace {

std::vector<std::u32string> numbers_of(std::u32string_view text) {
  std::vector<std::u32string> numbers;
  bool in_number = false;
  for (const char32_t c : text) {
    const bool is_digit = text::is_digit(c);
    if (is_digit && !in_number) numbers.emplace_back();
    if (is_digit) numbers.back() += c;
    in_number = is_digit;
  }
  return numbers;
}

double share_equal_to(std::u32string_view number, std::string_view prediction) {
  const std::vector<std::u32string> numbers = numbers_of(text::code_points(prediction));
  if (numbers.empty()) return 0;
  return static_cast<double>(std::count(numbers.begin(), numbers.end(), number)) /
         static_cast<double>(numbers.size());
}

// Of the first `mark` with digits right behind it.
std::u32string marked_number(std::string_view reference, std::u32string_view mark,
                             const char* expected) {
  const std::u32string text = text::code_points(reference);
  for (std::size_t at = text.find(mark); at != std::u32string::npos; at = text.find(mark, at + 1)) {
    const std::u32string_view rest = std::u32string_view(text).substr(at + mark.size());
    if (!rest.empty() && text::is_digit(rest.front())) return numbers_of(rest).front();
  }
  throw std::invalid_argument("reference " + quote(reference) + ": expected " + expected);
}

}  // namespace

double count_score(std::string_view prediction, std::string_view reference) {
  return share_equal_to(text::code_points(reference), prediction);
}

double paragraph_score(std::string_view prediction, std::string_view reference) {
  return share_equal_to(marked_number(reference, U"Paragraph ", "\"Paragraph \" and a number"),
                        prediction);
}

double paragraph_score_zh(std::string_view prediction, std::string_view reference) {
  return share_equal_to(marked_number(reference, U"\u6BB5\u843D", "\"\u6BB5\u843D\" and a number"),
                        prediction);
}

}  // namespace seer
