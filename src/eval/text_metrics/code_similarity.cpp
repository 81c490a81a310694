#include <algorithm>
#include <cmath>

#include "eval/text_metrics/code_points.h"
#include "seer/text_metrics.h"

namespace seer {
namespace {

// As published: a line that holds a comment's mark anywhere is none of code.
std::string_view first_code_line(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.find_first_of("`#") == std::string_view::npos &&
        line.find("//") == std::string_view::npos) {
      return line;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

std::size_t common_subsequence(const std::u32string& a, const std::u32string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (const char32_t c : a) {
    std::size_t diagonal = 0;  // of the row above
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = c == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

double code_similarity(std::string_view prediction, std::string_view reference) {
  const std::u32string line = text::code_points(first_code_line(prediction));
  const std::u32string expected = text::code_points(reference);
  if (line == expected) return 1;
  if (line.empty() || expected.empty()) return 0;
  const std::size_t total = line.size() + expected.size();
  const std::size_t edits = total - 2 * common_subsequence(line, expected);
  // In the order of operations of `rapidfuzz`, so that halves round alike.
  const double ratio = 1.0 - static_cast<double>(edits) / static_cast<double>(total);
  return std::nearbyint(100 * ratio) / 100;
}

}  // namespace seer
