#include "io/jinja/interpreter.h"

#include <deque>
#include <map>
#include <string_view>

#include "io/jinja/filters.h"
#include "io/jinja/methods.h"
#include "io/jinja/operators.h"
#include "io/jinja/tests.h"

namespace seer::jinja {
namespace {

enum class Flow { kOn, kBreak, kContinue };

// The recursion of this class is bounded by the parser's limits on nesting.
class Interpreter {
 public:
  Interpreter(Budget& budget, const std::function<std::tm()>& local_time)
      : budget_(budget), environment_{budget, local_time, namespaces_} {}

  std::string run(const Body& body, const std::vector<std::pair<std::string, Value>>& variables) {
    scopes_.emplace_back();
    for (const auto& [name, value] : variables) scopes_.back().insert_or_assign(name, value);
    scopes_.emplace_back();
    execute(body);
    return std::move(out_);
  }

 private:
  Flow execute(const Body& body) {
    for (const Statement& statement : body) {
      const Flow flow = at(statement.offset, [&] {
        budget_.steps(1);
        return std::visit([&](const auto& node) { return execute(node); }, statement.node);
      });
      if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  // Gives an error its place; the innermost place wins.
  template <typename Function>
  auto at(std::size_t offset, const Function& function) -> decltype(function()) {
    try {
      return function();
    } catch (const Error& error) {
      throw RenderError(error.what(), offset);
    }
  }

  void put(std::string_view text) {
    budget_.output(text.size());
    out_ += text;
  }

  Flow execute(const Text& node) {
    put(node.text);
    return Flow::kOn;
  }

  Flow execute(const Output& node) {
    const Value value = evaluate(*node.value);
    put(value.is_string() ? value.as_string() : to_text(value, budget_));
    return Flow::kOn;
  }

  Flow execute(const Set& node) {
    assign(node.target, evaluate(*node.value));
    return Flow::kOn;
  }

  Flow execute(const If& node) {
    for (const auto& [condition, body] : node.branches) {
      if (evaluate(*condition).truthy()) return execute(body);
    }
    return execute(node.otherwise);
  }

  Flow execute(const Break&) { return Flow::kBreak; }
  Flow execute(const Continue&) { return Flow::kContinue; }

  Flow execute(const For& node) {
    std::vector<Value> items = iterate(evaluate(*node.iterable), budget_);
    if (node.filter != nullptr) items = filtered(node, items);
    if (items.empty()) {
      scopes_.emplace_back();
      const Flow flow = execute(node.otherwise);
      scopes_.pop_back();
      return flow;
    }
    const auto loop = std::make_shared<Loop>();
    loop->items = Value::list(std::move(items), budget_);
    loop->nesting = ++loops_;
    const Value loop_value = Value::loop(loop, budget_);
    for (const Value& item : loop->items.as_list()) {
      scopes_.emplace_back();
      scopes_.back().emplace("loop", loop_value);
      assign(node.target, item);
      const Flow flow = execute(node.body);
      scopes_.pop_back();
      if (flow == Flow::kBreak) break;
      ++loop->index0;
    }
    --loops_;
    return Flow::kOn;
  }

  std::vector<Value> filtered(const For& node, const std::vector<Value>& items) {
    std::vector<Value> kept;
    for (const Value& item : items) {
      scopes_.emplace_back();
      assign(node.target, item);
      if (evaluate(*node.filter).truthy()) kept.push_back(item);
      scopes_.pop_back();
    }
    return kept;
  }

  void assign(const Target& target, const Value& value) {
    budget_.steps(1);
    if (!target.attribute.empty()) {
      const Value* object = find(target.name);
      if (object == nullptr || !object->is_namespace()) {
        throw Error("cannot set '" + target.name + "." + target.attribute + "': '" + target.name +
                    "' is no namespace");
      }
      object->as_namespace().attributes[target.attribute] = value;
    } else if (!target.name.empty()) {
      scopes_.back().insert_or_assign(target.name, value);
    } else {
      const std::vector<Value> items = iterate(value, budget_);
      if (items.size() != target.items.size()) {
        throw Error("cannot unpack " + std::to_string(items.size()) + " values into " +
                    std::to_string(target.items.size()) + " names");
      }
      for (std::size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i]);
    }
  }

  const Value* find(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->find(name);
      if (found != scope->end()) return &found->second;
    }
    return nullptr;
  }

  Value evaluate(const Expr& expression) {
    return at(expression.offset, [&] {
      budget_.steps(1);
      return std::visit([&](const auto& node) { return evaluate(node); }, expression.node);
    });
  }

  Value evaluate_or_none(const ExprPtr& expression) {
    return expression ? evaluate(*expression) : Value();
  }

  Value evaluate(const Literal& node) { return node.value; }

  Value evaluate(const Name& node) {
    if (const Value* value = find(node.name)) return *value;
    if (has_function(node.name)) return Value::callable(node.name);
    return Value::undefined("'" + node.name + "'");
  }

  Value evaluate(const ListLiteral& node) {
    std::vector<Value> items;
    items.reserve(node.items.size());
    for (const ExprPtr& item : node.items) items.push_back(evaluate(*item));
    return node.tuple ? Value::tuple(std::move(items), budget_)
                      : Value::list(std::move(items), budget_);
  }

  Value evaluate(const DictLiteral& node) {
    std::vector<std::pair<std::string, Value>> items;
    for (const auto& [key_node, value_node] : node.items) {
      const Value key = evaluate(*key_node);
      if (!key.is_string())
        throw Error(std::string("a dict's key is a text here, got a value of type ") +
                    key.type_name());
      budget_.steps(items.size() / 16);
      Value value = evaluate(*value_node);
      bool replaced = false;
      for (auto& [name, other] : items) {
        if (name != key.as_string()) continue;
        other = value;
        replaced = true;
      }
      if (!replaced) items.emplace_back(key.as_string(), std::move(value));
    }
    return Value::dict(std::move(items), budget_);
  }

  Value evaluate(const Unary& node) {
    const Value operand = evaluate(*node.operand);
    if (node.op == "not") return Value(!operand.truthy());
    return node.op == "-" ? negate(operand) : negate(negate(operand));
  }

  Value evaluate(const Binary& node) {
    Value left = evaluate(*node.left);
    if (node.op == "and") return left.truthy() ? evaluate(*node.right) : left;
    if (node.op == "or") return left.truthy() ? left : evaluate(*node.right);
    return arithmetic(node.op, left, evaluate(*node.right), budget_);
  }

  Value evaluate(const Concat& node) {
    std::string out;
    for (const ExprPtr& part : node.parts) {
      const Value value = evaluate(*part);
      const std::string text = to_text(value, budget_);
      budget_.bytes(text.size());
      out += text;
    }
    return Value(std::move(out));
  }

  Value evaluate(const Comparison& node) {
    Value left = evaluate(*node.first);
    for (const auto& [op, operand] : node.rest) {
      Value right = evaluate(*operand);
      if (!compares(op, left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  bool compares(const std::string& op, const Value& left, const Value& right) {
    if (op == "==") return equal(left, right, budget_);
    if (op == "!=") return !equal(left, right, budget_);
    if (op == "in") return contains(right, left, budget_);
    if (op == "not in") return !contains(right, left, budget_);
    const int order = compare(left, right, budget_);
    if (op == "<") return order < 0;
    if (op == "<=") return order <= 0;
    return op == ">" ? order > 0 : order >= 0;
  }

  Value evaluate(const Conditional& node) {
    if (evaluate(*node.condition).truthy()) return evaluate(*node.then);
    return node.otherwise ? evaluate(*node.otherwise)
                          : Value::undefined("the value of an 'if' without 'else'");
  }

  Value evaluate(const Attribute& node) {
    return attribute_of(evaluate(*node.object), node.name, budget_);
  }

  Value evaluate(const Subscript& node) {
    const Value object = evaluate(*node.object);
    return item_of(object, evaluate(*node.index), budget_);
  }

  Value evaluate(const Slice& node) {
    const Value object = evaluate(*node.object);
    const Value start = evaluate_or_none(node.start);
    const Value stop = evaluate_or_none(node.stop);
    return slice_of(object, start, stop, evaluate_or_none(node.step), budget_);
  }

  Value evaluate(const Call& node) {
    const Value callee = evaluate(*node.callee);
    return call(callee, given(node.arguments), environment_);
  }

  Value evaluate(const Filter& node) {
    const Value operand = evaluate(*node.operand);
    return run_filter(node.name, operand, given(node.arguments), environment_);
  }

  Value evaluate(const Test& node) {
    const Value operand = evaluate(*node.operand);
    const Given arguments = given(node.arguments);
    arguments.finish(node.name, arguments.positional.size());
    return Value(run_test(node.name, operand, arguments.positional, budget_));
  }

  Given given(const Arguments& arguments) {
    Given all;
    for (const ExprPtr& argument : arguments.positional)
      all.positional.push_back(evaluate(*argument));
    for (const auto& [name, argument] : arguments.named)
      all.named.emplace_back(name, evaluate(*argument));
    return all;
  }

  Budget& budget_;
  std::deque<Namespace> namespaces_;
  Environment environment_;
  std::vector<std::map<std::string, Value, std::less<>>> scopes_;
  std::int64_t loops_ = 0;
  std::string out_;
};

}  // namespace

std::string render(const Body& body, const std::vector<std::pair<std::string, Value>>& variables,
                   Budget& budget, const std::function<std::tm()>& local_time) {
  return Interpreter(budget, local_time).run(body, variables);
}

}  // namespace seer::jinja
