// Finds the first of several strings in a stream of text, also across its pieces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

class StopStrings {
 public:
  // Throws std::invalid_argument for an empty string.
  explicit StopStrings(std::vector<std::string> strings);

  // The text that is now known to stand before any stop string.
  std::string push(std::string_view piece);
  // What was held back as a possible beginning of a stop string, when the stream ends.
  std::string finish();
  // A stop string was found: there will be no more text.
  bool found() const { return found_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  bool found_ = false;
};

}  // namespace seer
