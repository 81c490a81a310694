#pragma once

#include "io/jinja/ast.h"
#include "io/jinja/token_stream.h"

namespace seer::jinja {

// Expressions by Jinja's grammar, loosest first: if-else, or, and, not, comparisons, + -, ~, * / // %, unary,
// then attributes, calls, filters and tests.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExprPtr expression();
  // One expression, or several with commas between them, which make a tuple. Without `conditional` no if-else.
  ExprPtr expression_or_tuple(bool conditional = true);

 private:
  class Nesting;

  ExprPtr logical_or();
  ExprPtr logical_and();
  ExprPtr logical_not();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concat();
  ExprPtr product();
  ExprPtr unary(bool with_filters);
  ExprPtr primary();
  ExprPtr list_literal();
  ExprPtr dict_literal();
  ExprPtr postfix(ExprPtr operand);
  ExprPtr subscript(ExprPtr object);
  ExprPtr filters_and_tests(ExprPtr operand);
  ExprPtr test(ExprPtr operand);
  Arguments arguments();

  TokenStream& tokens_;
  int nesting_ = 0;
  int chain_ = 0;
};

}  // namespace seer::jinja
