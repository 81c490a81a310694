// The tokens of a template, one after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "io/jinja/lexer.h"

namespace seer::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& next() {
    const Token& token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool take_operator(std::string_view name) {
    if (!peek().is_operator(name)) return false;
    next();
    return true;
  }
  bool take_name(std::string_view name) {
    if (!peek().is_name(name)) return false;
    next();
    return true;
  }
  void expect_operator(std::string_view name) {
    if (!take_operator(name)) fail_expected("'" + std::string(name) + "'");
  }
  std::string expect_name() {
    if (peek().kind != TokenKind::kName) fail_expected("a name");
    return next().text;
  }
  [[noreturn]] void fail(const std::string& what) const { throw SyntaxError(what, peek().offset); }
  [[noreturn]] void fail_expected(const std::string& what) const {
    const Token& token = peek();
    const bool end = token.kind == TokenKind::kEnd;
    fail("expected " + what + ", got " +
         (end ? "the end of the template" : "'" + token.text + "'"));
  }

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace seer::jinja
