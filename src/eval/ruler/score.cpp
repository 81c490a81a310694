#include <utf8proc.h>

#include <algorithm>

#include "seer/ruler.h"

namespace seer {
namespace {

// Lower case, character by character; bytes that are not UTF-8 stay.
std::string lower(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    utf8proc_int32_t character = 0;
    const auto* const bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const utf8proc_ssize_t size =
        utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size()), &character);
    if (size < 1) {
      result += text.front();
      text.remove_prefix(1);
      continue;
    }
    utf8proc_uint8_t encoded[4];
    const utf8proc_ssize_t written = utf8proc_encode_char(utf8proc_tolower(character), encoded);
    result.append(reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(written));
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  return result;
}

std::int64_t contained(std::string_view prediction, const std::vector<std::string>& references) {
  const std::string text = lower(prediction);
  return std::count_if(references.begin(), references.end(), [&](const std::string& reference) {
    return text.find(lower(reference)) != std::string::npos;
  });
}

}  // namespace

double string_match_all(std::string_view prediction, const std::vector<std::string>& references) {
  if (references.empty()) return 0;
  return static_cast<double>(contained(prediction, references)) /
         static_cast<double>(references.size());
}

double string_match_part(std::string_view prediction, const std::vector<std::string>& references) {
  return contained(prediction, references) > 0 ? 1 : 0;
}

EvalPrompt RulerTask::prompt(std::int64_t context, std::int64_t index) const {
  return sample(context, index).prompt;
}

}  // namespace seer
