#include "io/jinja/parser.h"

#include <set>

#include "io/jinja/expression_parser.h"
#include "io/jinja/lexer.h"

namespace seer::jinja {
namespace {

constexpr int kMaxNesting = 50;  // of blocks

class Parser {
 public:
  explicit Parser(TokenStream tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Body run() {
    Body body = statements({});
    if (tokens_.peek().kind != TokenKind::kEnd)
      tokens_.fail("unexpected '" + tokens_.peek(1).text + "'");
    return body;
  }

 private:
  using Words = std::set<std::string, std::less<>>;

  // Statements up to a block that begins with one of these words, of which "{%" is still to come.
  Body statements(const Words& ends) {
    if (++nesting_ > kMaxNesting) {
      tokens_.fail("blocks are nested deeper than " + std::to_string(kMaxNesting) + " levels");
    }
    Body body;
    for (;;) {
      const Token token = tokens_.peek();
      if (token.kind == TokenKind::kEnd) break;
      if (token.kind == TokenKind::kText) {
        tokens_.next();
        body.push_back(Statement{Text{token.text}, token.offset});
      } else if (token.kind == TokenKind::kOutputOpen) {
        tokens_.next();
        ExprPtr value = expressions_.expression_or_tuple();
        expect(TokenKind::kOutputClose, "'}}'");
        body.push_back(Statement{Output{std::move(value)}, token.offset});
      } else {
        const Token& word = tokens_.peek(1);
        if (word.kind == TokenKind::kName && ends.contains(word.text)) break;
        if (word.is_name("else") || word.is_name("elif") || word.text.starts_with("end")) break;
        tokens_.next();
        block(body);
      }
    }
    --nesting_;
    return body;
  }

  void block(Body& body) {
    const Token word = tokens_.peek();
    tokens_.expect_name();
    if (word.text == "set") {
      body.push_back(Statement{set(), word.offset});
    } else if (word.text == "if") {
      body.push_back(Statement{if_block(word), word.offset});
    } else if (word.text == "for") {
      body.push_back(Statement{for_block(word), word.offset});
    } else if (word.text == "break" || word.text == "continue") {
      if (loops_ == 0)
        throw SyntaxError("'" + word.text + "' stands outside of a loop", word.offset);
      close_block();
      if (word.text == "break") {
        body.push_back(Statement{Break{}, word.offset});
      } else {
        body.push_back(Statement{Continue{}, word.offset});
      }
    } else if (word.text ==
               "generation") {  // marks the assistant's turns for training; prints its body
      close_block();
      Body inner = statements({"endgeneration"});
      expect_end(word, "endgeneration");
      for (Statement& statement : inner) body.push_back(std::move(statement));
    } else {
      throw SyntaxError("the block '" + word.text +
                            "' is not supported (supported: set, if, for, break, "
                            "continue, generation)",
                        word.offset);
    }
  }

  void expect(TokenKind kind, const char* what) {
    if (tokens_.peek().kind != kind) tokens_.fail_expected(what);
    tokens_.next();
  }

  void close_block() { expect(TokenKind::kBlockClose, "'%}'"); }

  // True and past the word where the next block is `word`.
  bool take_block(std::string_view word) {
    if (tokens_.peek().kind != TokenKind::kBlockOpen || !tokens_.peek(1).is_name(word))
      return false;
    tokens_.next();
    tokens_.next();
    return true;
  }

  void expect_end(const Token& opened, std::string_view word) {
    if (!take_block(word)) {
      const bool end = tokens_.peek().kind == TokenKind::kEnd;
      const std::string got = end ? "the end of the template" : "'" + tokens_.peek(1).text + "'";
      throw SyntaxError("this '" + opened.text + "' is not closed: expected '" + std::string(word) +
                            "', got " + got,
                        opened.offset);
    }
    close_block();
  }

  Set set() {
    Target target = targets(true);
    if (tokens_.peek().kind == TokenKind::kBlockClose || tokens_.peek().is_operator("|")) {
      tokens_.fail("a set block (set ... endset) is not supported");
    }
    tokens_.expect_operator("=");
    ExprPtr value = expressions_.expression_or_tuple();
    close_block();
    return Set{std::move(target), std::move(value)};
  }

  If if_block(const Token& word) {
    If node;
    ExprPtr condition = condition_and_close();
    for (;;) {
      Body body = statements({"elif", "else", "endif"});
      node.branches.emplace_back(std::move(condition), std::move(body));
      if (!take_block("elif")) break;
      condition = condition_and_close();
    }
    if (take_block("else")) {
      close_block();
      node.otherwise = statements({"endif"});
    }
    expect_end(word, "endif");
    return node;
  }

  ExprPtr condition_and_close() {
    ExprPtr condition = expressions_.expression_or_tuple();
    close_block();
    return condition;
  }

  For for_block(const Token& word) {
    For node;
    node.target = targets(false);
    if (!tokens_.take_name("in")) tokens_.fail_expected("'in'");
    node.iterable = expressions_.expression_or_tuple(false);
    if (tokens_.take_name("if")) node.filter = expressions_.expression();
    if (tokens_.peek().is_name("recursive")) tokens_.fail("a recursive loop is not supported");
    close_block();
    ++loops_;
    node.body = statements({"else", "endfor"});
    --loops_;
    if (take_block("else")) {
      close_block();
      node.otherwise = statements({"endfor"});
    }
    expect_end(word, "endfor");
    return node;
  }

  // name | name.attribute | a, b | (a, b)
  Target targets(bool with_attribute, int depth = 0) {
    Target first = one_target(with_attribute, depth);
    if (!tokens_.peek().is_operator(",")) return first;
    Target all;
    all.items.push_back(std::move(first));
    while (tokens_.take_operator(",")) {
      const Token& next = tokens_.peek();
      if (next.is_operator("=") || next.is_operator(")") || next.is_name("in")) break;
      all.items.push_back(one_target(with_attribute, depth));
    }
    return all;
  }

  Target one_target(bool with_attribute, int depth) {
    if (depth > 10) tokens_.fail("the targets are nested too deeply");
    if (tokens_.take_operator("(")) {
      Target inner = targets(with_attribute, depth + 1);
      tokens_.expect_operator(")");
      return inner;
    }
    static const Words kReserved = {"true", "True", "false", "False", "none", "None", "loop",
                                    "and",  "or",   "not",   "if",    "else", "in",   "is"};
    if (kReserved.contains(tokens_.peek().text))
      tokens_.fail("cannot assign to '" + tokens_.peek().text + "'");
    Target target;
    target.name = tokens_.expect_name();
    if (with_attribute && tokens_.take_operator(".")) target.attribute = tokens_.expect_name();
    return target;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

Body parse_template(std::string_view text) {
  return Parser(TokenStream(tokenize(text))).run();
}

}  // namespace seer::jinja
