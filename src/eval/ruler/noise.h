// A haystack of a few sentences that say nothing, over and over.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace seer::ruler {

inline constexpr std::array kNoise = {"The river is wide.", "The hill is steep.",
                                      "The lamp is bright.", "On we walk.",
                                      "Far out and home again."};
inline constexpr std::int64_t kNoiseLine = 5;  // sentences of a line

// The places between the lines of `sentences` sentences, both ends included.
inline std::int64_t noise_gaps(std::int64_t sentences) {
  return (sentences + kNoiseLine - 1) / kNoiseLine + 1;
}

// `sentences` sentences in lines, and before line `first` the line `second`; `inserted` is in order.
inline std::string noise_with(std::int64_t sentences,
                              const std::vector<std::pair<std::int64_t, std::string>>& inserted) {
  std::string text;
  const auto add_line = [&](const std::string& line) {
    if (!text.empty()) text += '\n';
    text += line;
  };
  std::size_t next = 0;
  const std::int64_t gaps = noise_gaps(sentences);
  for (std::int64_t gap = 0; gap < gaps; ++gap) {
    while (next < inserted.size() && inserted[next].first == gap) add_line(inserted[next++].second);
    std::string line;
    for (std::int64_t i = gap * kNoiseLine; i < sentences && i < (gap + 1) * kNoiseLine; ++i) {
      if (!line.empty()) line += ' ';
      line += kNoise[static_cast<std::size_t>(i % kNoiseLine)];
    }
    if (!line.empty()) add_line(line);
  }
  return text;
}

}  // namespace seer::ruler
