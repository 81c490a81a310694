// A parsed template.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "io/jinja/value.h"

namespace seer::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
};

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct ListLiteral {
  std::vector<ExprPtr> items;
  bool tuple;
};
struct DictLiteral {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};
struct Unary {
  std::string op;
  ExprPtr operand;
};  // not - +
struct Binary {
  std::string op;
  ExprPtr left, right;
};  // and or + - * / // %
struct Concat {
  std::vector<ExprPtr> parts;
};  // ~
struct Comparison {
  ExprPtr first;
  std::vector<std::pair<std::string, ExprPtr>> rest;
};  // a < b < c
struct Conditional {
  ExprPtr condition, then, otherwise;
};  // otherwise may be null
struct Attribute {
  ExprPtr object;
  std::string name;
};
struct Subscript {
  ExprPtr object, index;
};
struct Slice {
  ExprPtr object, start, stop, step;
};  // each but object may be null
struct Call {
  ExprPtr callee;
  Arguments arguments;
};
struct Filter {
  ExprPtr operand;
  std::string name;
  Arguments arguments;
};
struct Test {
  ExprPtr operand;
  std::string name;
  Arguments arguments;
};

struct Expr {
  std::variant<Literal, Name, ListLiteral, DictLiteral, Unary, Binary, Concat, Comparison,
               Conditional, Attribute, Subscript, Slice, Call, Filter, Test>
      node;
  std::size_t offset;  // in the template's text
};

// What a loop or a set assigns to.
struct Target {
  std::string name;       // empty for a tuple
  std::string attribute;  // of the namespace `name`, or empty
  std::vector<Target> items;
};

struct Statement;
using Body = std::vector<Statement>;

struct Text {
  std::string text;
};
struct Output {
  ExprPtr value;
};
struct Set {
  Target target;
  ExprPtr value;
};
struct If {
  std::vector<std::pair<ExprPtr, Body>> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExprPtr iterable, filter;
  Body body, otherwise;
};  // filter may be null
struct Break {};
struct Continue {};

struct Statement {
  std::variant<Text, Output, Set, If, For, Break, Continue> node;
  std::size_t offset;
};

}  // namespace seer::jinja
