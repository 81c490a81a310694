#include "eval/placeholders.h"

namespace seer {

std::string replace_placeholders(std::string_view text,
                                 const std::map<std::string, std::string, std::less<>>& values) {
  std::string result;
  while (!text.empty()) {
    const std::size_t open = text.find('{');
    result += text.substr(0, open);
    if (open == std::string_view::npos) break;
    text.remove_prefix(open);
    const std::size_t close = text.find('}');
    const auto value =
        close == std::string_view::npos ? values.end() : values.find(text.substr(1, close - 1));
    if (value == values.end()) {
      result += '{';
      text.remove_prefix(1);
    } else {
      result += value->second;
      text.remove_prefix(close + 1);
    }
  }
  return result;
}

}  // namespace seer
