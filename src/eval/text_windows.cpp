#include "eval/text_windows.h"

#include <fmt/format.h>

#include <stdexcept>

#include "base/fnv1a.h"

namespace seer {

void check_window_length(const TokenStream& text, std::int64_t length) {
  const auto size = static_cast<std::int64_t>(text.tokens.size());
  if (size > length) return;
  throw std::invalid_argument(
      fmt::format("text: {} tokens are fewer than the {} that windows of {} need: give more text, "
                  "or a smaller context",
                  size, length + 1, length));
}

std::vector<TokenId> text_window(const TokenStream& text, TokenId bos, std::int64_t length,
                                 std::int64_t count, std::int64_t index) {
  check_window_length(text, length);
  const auto size = static_cast<std::int64_t>(text.tokens.size());
  const auto first = text.tokens.begin() + index * ((size - length - 1) / count);
  std::vector<TokenId> tokens = {bos};
  tokens.reserve(static_cast<std::size_t>(length));
  tokens.insert(tokens.end(), first, first + (length - 1));
  return tokens;
}

std::vector<TokenSpan> document_spans(const TokenStream& text, TokenId bos) {
  std::vector<TokenSpan> spans;
  const auto size = static_cast<std::int64_t>(text.tokens.size());
  std::int64_t first = 0;
  for (std::int64_t i = 0; i <= size; ++i) {
    if (i < size && text.tokens[static_cast<std::size_t>(i)] != bos) continue;
    if (i > first) spans.push_back({.first = first, .count = i - first});
    first = i + 1;
  }
  return spans;
}

std::string text_settings(const TokenStream& text) {
  return fmt::format(R"("text_tokens":{},"text_hash":"{:016x}")", text.tokens.size(),
                     fnv1a(text.tokens));
}

}  // namespace seer
