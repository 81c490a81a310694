// A template's text as tokens, with whitespace control applied (trim_blocks and lstrip_blocks on, as Hugging Face
// renders chat templates).
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace seer::jinja {

enum class TokenKind {
  kText,        // outside of tags
  kOutputOpen,  // {{
  kOutputClose,
  kBlockOpen,  // {%
  kBlockClose,
  kName,
  kString,
  kInt,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // a string's value, an operator's or name's letters
  std::size_t offset = 0;
  std::int64_t integer = 0;
  double number = 0;

  bool is_operator(std::string_view name) const {
    return kind == TokenKind::kOperator && text == name;
  }
  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
};

// The text with its newlines as \n and without the last one.
std::string normalize_template(std::string_view text);

// Throws SyntaxError.
std::vector<Token> tokenize(std::string_view text);

struct SyntaxError : std::runtime_error {
  SyntaxError(const std::string& what, std::size_t at) : std::runtime_error(what), offset(at) {}
  std::size_t offset;
};

}  // namespace seer::jinja
