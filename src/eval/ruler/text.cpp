#include <algorithm>
#include <cctype>

#include "seer/ruler.h"

namespace seer {

std::shared_ptr<const RulerText> ruler_text(std::string_view text) {
  auto result = std::make_shared<RulerText>();
  result->text.reserve(text.size());
  bool in_word = false;
  for (const char c : text) {
    const bool is_blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (!is_blank && !in_word) {
      if (result->words > 0) result->text += ' ';
      ++result->words;
    }
    if (!is_blank) result->text += c;
    in_word = !is_blank;
  }
  return result;
}

std::shared_ptr<const RulerText> ruler_text(const TokenStream& stream, const Tokenizer& tokenizer) {
  // Special tokens stand between documents, where a blank must be.
  std::string text;
  std::vector<TokenId> document;
  const auto add_document = [&] {
    text += ' ';
    text += tokenizer.decode(document, /*skip_special_tokens=*/true);
    document.clear();
  };
  for (const std::int32_t token : stream.tokens) {
    if (!tokenizer.is_special(token)) {
      document.push_back(token);
    } else if (!document.empty()) {
      add_document();
    }
  }
  if (!document.empty()) add_document();
  return ruler_text(text);
}

}  // namespace seer
