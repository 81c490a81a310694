#include "io/jinja/expression_parser.h"

#include <set>

#include "io/jinja/filters.h"
#include "io/jinja/tests.h"

namespace seer::jinja {
namespace {

// Bounds the recursion of this parser, of the rendering and of the tree's destruction.
constexpr int kMaxNesting = 200;
// Of operators, calls and attributes in one tag: a + b + c is a tree of depth 2.
constexpr int kMaxChain = 500;

template <typename Node>
ExprPtr make(std::size_t offset, Node node) {
  return std::make_unique<Expr>(Expr{std::move(node), offset});
}

}  // namespace

// One level of the tree, for as long as the object lives.
class ExpressionParser::Nesting {
 public:
  explicit Nesting(ExpressionParser& parser) : parser_(parser) {
    if (parser_.nesting_ == 0) parser_.chain_ = 0;
    if (++parser_.nesting_ > kMaxNesting) {
      parser_.tokens_.fail("this expression is nested too deeply");
    }
  }
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

  // A further level above what was parsed so far, as in a + b + c + ...
  void deeper() {
    if (++parser_.chain_ > kMaxChain) parser_.tokens_.fail("this expression is too long");
  }

 private:
  ExpressionParser& parser_;
};

ExprPtr ExpressionParser::expression() {
  Nesting nesting(*this);
  ExprPtr value = logical_or();
  while (tokens_.peek().is_name("if")) {
    nesting.deeper();
    const std::size_t offset = tokens_.next().offset;
    ExprPtr condition = logical_or();
    ExprPtr otherwise = tokens_.take_name("else") ? expression() : nullptr;
    value = make(offset, Conditional{std::move(condition), std::move(value), std::move(otherwise)});
  }
  return value;
}

ExprPtr ExpressionParser::expression_or_tuple(bool conditional) {
  const std::size_t offset = tokens_.peek().offset;
  const auto one = [&] { return conditional ? expression() : logical_or(); };
  ExprPtr first = one();
  if (!tokens_.peek().is_operator(",")) return first;
  std::vector<ExprPtr> items;
  items.push_back(std::move(first));
  while (tokens_.take_operator(",")) {
    const Token& next = tokens_.peek();
    if (next.kind == TokenKind::kOutputClose || next.kind == TokenKind::kBlockClose ||
        next.is_operator(")"))
      break;
    items.push_back(one());
  }
  return make(offset, ListLiteral{std::move(items), true});
}

ExprPtr ExpressionParser::logical_or() {
  Nesting nesting(*this);
  ExprPtr left = logical_and();
  while (tokens_.peek().is_name("or")) {
    nesting.deeper();
    const std::size_t offset = tokens_.next().offset;
    left = make(offset, Binary{"or", std::move(left), logical_and()});
  }
  return left;
}

ExprPtr ExpressionParser::logical_and() {
  Nesting nesting(*this);
  ExprPtr left = logical_not();
  while (tokens_.peek().is_name("and")) {
    nesting.deeper();
    const std::size_t offset = tokens_.next().offset;
    left = make(offset, Binary{"and", std::move(left), logical_not()});
  }
  return left;
}

ExprPtr ExpressionParser::logical_not() {
  if (!tokens_.peek().is_name("not")) return comparison();
  Nesting nesting(*this);
  const std::size_t offset = tokens_.next().offset;
  return make(offset, Unary{"not", logical_not()});
}

ExprPtr ExpressionParser::comparison() {
  static const std::set<std::string, std::less<>> kOperators = {"==", "!=", "<", "<=", ">", ">="};
  const std::size_t offset = tokens_.peek().offset;
  ExprPtr first = sum();
  std::vector<std::pair<std::string, ExprPtr>> rest;
  for (;;) {
    const Token& token = tokens_.peek();
    if (token.kind == TokenKind::kOperator && kOperators.contains(token.text)) {
      std::string op = tokens_.next().text;
      rest.emplace_back(std::move(op), sum());
    } else if (token.is_name("in")) {
      tokens_.next();
      rest.emplace_back("in", sum());
    } else if (token.is_name("not") && tokens_.peek(1).is_name("in")) {
      tokens_.next();
      tokens_.next();
      rest.emplace_back("not in", sum());
    } else {
      break;
    }
  }
  if (rest.empty()) return first;
  return make(offset, Comparison{std::move(first), std::move(rest)});
}

ExprPtr ExpressionParser::sum() {
  Nesting nesting(*this);
  ExprPtr left = concat();
  while (tokens_.peek().is_operator("+") || tokens_.peek().is_operator("-")) {
    nesting.deeper();
    const Token op = tokens_.next();
    left = make(op.offset, Binary{op.text, std::move(left), concat()});
  }
  return left;
}

ExprPtr ExpressionParser::concat() {
  const std::size_t offset = tokens_.peek().offset;
  ExprPtr first = product();
  if (!tokens_.peek().is_operator("~")) return first;
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(first));
  while (tokens_.take_operator("~")) parts.push_back(product());
  return make(offset, Concat{std::move(parts)});
}

ExprPtr ExpressionParser::product() {
  Nesting nesting(*this);
  ExprPtr left = unary(true);
  for (;;) {
    const Token op = tokens_.peek();
    if (op.is_operator("**")) tokens_.fail("the operator ** is not supported");
    if (!op.is_operator("*") && !op.is_operator("/") && !op.is_operator("//") &&
        !op.is_operator("%")) {
      return left;
    }
    nesting.deeper();
    tokens_.next();
    left = make(op.offset, Binary{op.text, std::move(left), unary(true)});
  }
}

ExprPtr ExpressionParser::unary(bool with_filters) {
  Nesting nesting(*this);
  const Token token = tokens_.peek();
  ExprPtr operand;
  if (token.is_operator("-") || token.is_operator("+")) {
    tokens_.next();
    operand = make(token.offset, Unary{token.text, unary(false)});
  } else {
    operand = primary();
  }
  operand = postfix(std::move(operand));
  return with_filters ? filters_and_tests(std::move(operand)) : std::move(operand);
}

ExprPtr ExpressionParser::primary() {
  const Token token = tokens_.peek();
  switch (token.kind) {
    case TokenKind::kName: {
      tokens_.next();
      if (token.text == "true" || token.text == "True")
        return make(token.offset, Literal{Value(true)});
      if (token.text == "false" || token.text == "False")
        return make(token.offset, Literal{Value(false)});
      if (token.text == "none" || token.text == "None") return make(token.offset, Literal{Value()});
      return make(token.offset, Name{token.text});
    }
    case TokenKind::kString: {
      std::string text;  // neighbouring strings are one
      while (tokens_.peek().kind == TokenKind::kString) text += tokens_.next().text;
      return make(token.offset, Literal{Value(std::move(text))});
    }
    case TokenKind::kInt: tokens_.next(); return make(token.offset, Literal{Value(token.integer)});
    case TokenKind::kFloat: tokens_.next(); return make(token.offset, Literal{Value(token.number)});
    default: break;
  }
  if (tokens_.take_operator("(")) {
    if (tokens_.take_operator(")")) return make(token.offset, ListLiteral{{}, true});
    ExprPtr inner = expression_or_tuple();
    tokens_.expect_operator(")");
    return inner;
  }
  if (token.is_operator("[")) return list_literal();
  if (token.is_operator("{")) return dict_literal();
  tokens_.fail_expected("an expression");
}

ExprPtr ExpressionParser::list_literal() {
  const std::size_t offset = tokens_.next().offset;
  std::vector<ExprPtr> items;
  while (!tokens_.take_operator("]")) {
    if (!items.empty()) {
      tokens_.expect_operator(",");
      if (tokens_.take_operator("]")) break;
    }
    items.push_back(expression());
  }
  return make(offset, ListLiteral{std::move(items), false});
}

ExprPtr ExpressionParser::dict_literal() {
  const std::size_t offset = tokens_.next().offset;
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
  while (!tokens_.take_operator("}")) {
    if (!items.empty()) {
      tokens_.expect_operator(",");
      if (tokens_.take_operator("}")) break;
    }
    ExprPtr key = expression();
    tokens_.expect_operator(":");
    items.emplace_back(std::move(key), expression());
  }
  return make(offset, DictLiteral{std::move(items)});
}

ExprPtr ExpressionParser::postfix(ExprPtr operand) {
  Nesting nesting(*this);
  for (;;) {
    const Token token = tokens_.peek();
    if (token.is_operator(".")) {
      tokens_.next();
      if (tokens_.peek().kind == TokenKind::kInt) {
        ExprPtr index = make(token.offset, Literal{Value(tokens_.next().integer)});
        operand = make(token.offset, Subscript{std::move(operand), std::move(index)});
      } else {
        operand = make(token.offset, Attribute{std::move(operand), tokens_.expect_name()});
      }
    } else if (token.is_operator("[")) {
      operand = subscript(std::move(operand));
    } else if (token.is_operator("(")) {
      operand = make(token.offset, Call{std::move(operand), arguments()});
    } else {
      return operand;
    }
    nesting.deeper();
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr object) {
  const std::size_t offset = tokens_.next().offset;
  ExprPtr parts[3];
  bool slice = false;
  for (int i = 0; i < 3; ++i) {
    const Token& token = tokens_.peek();
    if (!token.is_operator(":") && !token.is_operator("]")) parts[i] = expression();
    if (i == 2 || !tokens_.take_operator(":")) break;
    slice = true;
  }
  tokens_.expect_operator("]");
  if (slice) {
    return make(offset, Slice{std::move(object), std::move(parts[0]), std::move(parts[1]),
                              std::move(parts[2])});
  }
  if (parts[0] == nullptr) throw SyntaxError("expected an index between [ and ]", offset);
  return make(offset, Subscript{std::move(object), std::move(parts[0])});
}

Arguments ExpressionParser::arguments() {
  Arguments all;
  tokens_.expect_operator("(");
  while (!tokens_.take_operator(")")) {
    if (!all.positional.empty() || !all.named.empty()) {
      tokens_.expect_operator(",");
      if (tokens_.take_operator(")")) break;
    }
    if (tokens_.peek().is_operator("*") || tokens_.peek().is_operator("**")) {
      tokens_.fail("arguments by * and ** are not supported");
    }
    if (tokens_.peek().kind == TokenKind::kName && tokens_.peek(1).is_operator("=")) {
      std::string name = tokens_.next().text;
      for (const auto& [other, value] : all.named) {
        if (other == name) tokens_.fail("the argument '" + name + "' is given twice");
      }
      tokens_.next();
      all.named.emplace_back(std::move(name), expression());
    } else {
      if (!all.named.empty()) tokens_.fail("an argument without a name follows one with a name");
      all.positional.push_back(expression());
    }
  }
  return all;
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr operand) {
  Nesting nesting(*this);
  for (;;) {
    const Token token = tokens_.peek();
    if (token.is_operator("|")) {
      tokens_.next();
      const Token name = tokens_.peek();
      tokens_.expect_name();
      if (!is_filter(name.text)) {
        throw SyntaxError("the filter '" + name.text + "' is not supported", name.offset);
      }
      Arguments given;
      if (tokens_.peek().is_operator("(")) given = arguments();
      operand = make(name.offset, Filter{std::move(operand), name.text, std::move(given)});
    } else if (token.is_name("is")) {
      operand = test(std::move(operand));
    } else if (token.is_operator("(")) {
      operand = make(token.offset, Call{std::move(operand), arguments()});
    } else {
      return operand;
    }
    nesting.deeper();
  }
}

ExprPtr ExpressionParser::test(ExprPtr operand) {
  const std::size_t offset = tokens_.next().offset;
  const bool negated = tokens_.take_name("not");
  const Token name = tokens_.peek();
  tokens_.expect_name();
  if (!is_test(name.text))
    throw SyntaxError("the test '" + name.text + "' is not supported", name.offset);
  Arguments given;
  if (tokens_.peek().is_operator("(")) {
    given = arguments();
  } else if (test_takes_argument(name.text)) {
    given.positional.push_back(postfix(primary()));
  }
  ExprPtr result = make(offset, Test{std::move(operand), name.text, std::move(given)});
  return negated ? make(offset, Unary{"not", std::move(result)}) : std::move(result);
}

}  // namespace seer::jinja
