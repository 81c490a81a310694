#include "model/stop_strings.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace seer {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_) {
    if (string.empty()) throw std::invalid_argument("stop: expected a string that is not empty");
  }
}

std::string StopStrings::push(std::string_view piece) {
  if (found_) return {};
  held_ += piece;
  std::size_t first = std::string::npos;
  for (const std::string& string : strings_) first = std::min(first, held_.find(string));
  found_ = first != std::string::npos;
  if (found_) {
    std::string before = held_.substr(0, first);
    held_.clear();
    return before;
  }
  // The longest end of the text that begins a stop string stays.
  std::size_t kept = 0;
  for (const std::string& string : strings_) {
    for (std::size_t length = std::min(string.size() - 1, held_.size()); length > kept; --length) {
      if (held_.ends_with(std::string_view(string).substr(0, length))) kept = length;
    }
  }
  std::string before = held_.substr(0, held_.size() - kept);
  held_.erase(0, before.size());
  return before;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace seer
