#include "io/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "io/jinja/text.h"

namespace seer::jinja {
namespace {

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

std::shared_ptr<const List> make_list(std::vector<Value> items, bool tuple, Budget& budget) {
  budget.bytes(items.size() * sizeof(Value) + sizeof(List));
  const int depth = depth_of(items);
  budget.depth(depth);
  return std::make_shared<const List>(List{std::move(items), tuple, depth});
}

}  // namespace

void Budget::steps(std::uint64_t count) {
  if (count > limits_.max_steps - steps_) {
    throw Error("the template takes more than " + std::to_string(limits_.max_steps) + " steps");
  }
  steps_ += count;
}

void Budget::bytes(std::size_t count) {
  if (count > limits_.max_work_bytes - bytes_) {
    throw Error("the template makes more than " + std::to_string(limits_.max_work_bytes) +
                " bytes of texts and lists");
  }
  bytes_ += count;
}

void Budget::output(std::size_t count) {
  if (count > limits_.max_output_bytes - output_) {
    throw Error("the template writes more than " + std::to_string(limits_.max_output_bytes) +
                " bytes");
  }
  output_ += count;
}

void Budget::depth(int depth) const {
  if (depth > limits_.max_depth) {
    throw Error("lists or dicts are nested deeper than " + std::to_string(limits_.max_depth) +
                " levels");
  }
}

Value Value::undefined(std::string name) {
  Value value;
  value.data_ = std::make_shared<const Undefined>(Undefined{std::move(name)});
  return value;
}

Value Value::list(std::vector<Value> items, Budget& budget) {
  Value value;
  value.data_ = make_list(std::move(items), false, budget);
  return value;
}

Value Value::tuple(std::vector<Value> items, Budget& budget) {
  Value value;
  value.data_ = make_list(std::move(items), true, budget);
  return value;
}

Value Value::dict(std::vector<std::pair<std::string, Value>> items, Budget& budget) {
  int depth = 0;
  for (const auto& [key, item] : items) depth = std::max(depth, item.depth());
  budget.bytes(items.size() * sizeof(items[0]) + sizeof(Dict));
  budget.depth(depth + 1);
  Value value;
  value.data_ = std::make_shared<const Dict>(Dict{std::move(items), depth + 1});
  return value;
}

Value Value::callable(std::string name) {
  Value value;
  value.data_ = std::make_shared<const Callable>(Callable{std::move(name), false, Value()});
  return value;
}

Value Value::method(std::string name, Value self, Budget& budget) {
  budget.depth(self.depth() + 1);
  Value value;
  value.data_ = std::make_shared<const Callable>(Callable{std::move(name), true, std::move(self)});
  return value;
}

Value Value::loop(std::shared_ptr<const Loop> loop, Budget& budget) {
  budget.depth(loop->items.depth() + 1);
  Value value;
  value.data_ = std::move(loop);
  return value;
}

std::int64_t Value::as_int() const {
  return is_bool() ? std::int64_t{as_bool()} : std::get<std::int64_t>(data_);
}

double Value::as_float() const {
  return is_float() ? std::get<double>(data_) : static_cast<double>(as_int());
}

const std::vector<Value>& Value::as_list() const {
  return std::get<ListPtr>(data_)->items;
}

bool Value::is_tuple() const {
  return is_list() && std::get<ListPtr>(data_)->tuple;
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_float()) return as_float() != 0.0;
  if (is_number()) return as_int() != 0;
  if (is_string()) return !as_string().empty();
  if (is_list()) return !as_list().empty();
  if (is_dict()) return !as_dict().items.empty();
  return true;
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"NoneType",  "Undefined", "bool",    "int",
                                           "float",     "str",       "list",    "dict",
                                           "namespace", "loop",      "function"};
  return is_tuple() ? "tuple" : kNames[data_.index()];
}

int Value::depth() const {
  if (is_list()) return std::get<ListPtr>(data_)->depth;
  if (is_dict()) return as_dict().depth;
  if (is_loop()) return as_loop().items.depth() + 1;
  if (is_callable()) return as_callable().self.depth() + 1;
  return 0;
}

const Value* Dict::find(std::string_view key, Budget& budget) const {
  budget.steps(items.size() / 16);
  for (const auto& [name, value] : items) {
    if (name == key) return &value;
  }
  return nullptr;
}

void fail_undefined(const Value& value) {
  throw Error(value.undefined_name() + " is undefined");
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.steps(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.as_float() == b.as_float();
    return a.as_int() == b.as_int();
  }
  if (a.is_string() && b.is_string()) {
    budget.steps(std::min(a.as_string().size(), b.as_string().size()) / 64);
    return a.as_string() == b.as_string();
  }
  if (a.is_list() && b.is_list()) {
    const auto& left = a.as_list();
    const auto& right = b.as_list();
    return a.is_tuple() == b.is_tuple() &&
           std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [&](const Value& x, const Value& y) { return equal(x, y, budget); });
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.as_dict().items.size() != b.as_dict().items.size()) return false;
    for (const auto& [key, value] : a.as_dict().items) {
      const Value* other = b.as_dict().find(key, budget);
      if (other == nullptr || !equal(value, *other, budget)) return false;
    }
    return true;
  }
  if (a.is_namespace() && b.is_namespace()) return &a.as_namespace() == &b.as_namespace();
  if (a.is_loop() && b.is_loop()) return &a.as_loop() == &b.as_loop();
  if (a.is_callable() && b.is_callable()) throw Error("functions cannot be compared");
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

int compare(const Value& a, const Value& b, Budget& budget) {
  budget.steps(1);
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : (y < x ? 1 : 0); };
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return order(a.as_float(), b.as_float());
    return order(a.as_int(), b.as_int());
  }
  if (a.is_string() && b.is_string()) {
    budget.steps(std::min(a.as_string().size(), b.as_string().size()) / 64);
    return order(a.as_string(),
                 b.as_string());  // the order of UTF-8's bytes is that of its characters
  }
  if (a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    const auto& left = a.as_list();
    const auto& right = b.as_list();
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equal(left[i], right[i], budget)) return compare(left[i], right[i], budget);
    }
    return order(left.size(), right.size());
  }
  throw Error(std::string("'<' and the like are not supported between '") + a.type_name() +
              "' and '" + b.type_name() + "'");
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[64];
  const auto end =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
  std::string text(digits, end.ptr);
  const std::size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  // Python writes exponents from -4 to 15 out.
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed);
  text.assign(digits, fixed.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string to_text(const Value& value, Budget& budget) {
  if (value.is_undefined()) return "";
  if (value.is_string()) return value.as_string();
  std::string out;
  append_repr(out, value, budget);
  return out;
}

void append_repr(std::string& out, const Value& value, Budget& budget) {
  budget.steps(1);
  const std::size_t before = out.size();
  if (value.is_none()) {
    out += "None";
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "True" : "False";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_float()) {
    out += float_text(value.as_float());
  } else if (value.is_string()) {
    budget.bytes(value.as_string().size());
    append_quoted(out, value.as_string());
  } else if (value.is_list()) {
    const auto& items = value.as_list();
    out += value.is_tuple() ? '(' : '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, items[i], budget);
    }
    if (value.is_tuple() && items.size() == 1) out += ',';
    out += value.is_tuple() ? ')' : ']';
  } else if (value.is_dict()) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.as_dict().items) {
      if (!first) out += ", ";
      first = false;
      budget.bytes(key.size());
      append_quoted(out, key);
      out += ": ";
      append_repr(out, item, budget);
    }
    out += '}';
  } else {
    throw Error(std::string("a ") + value.type_name() + " cannot be printed");
  }
  if (!value.is_list() && !value.is_dict()) budget.bytes(out.size() - before);
}

std::vector<Value> iterate(const Value& value, Budget& budget) {
  if (value.is_list()) {
    budget.bytes(value.as_list().size() * sizeof(Value));
    return value.as_list();
  }
  std::vector<Value> items;
  if (value.is_dict()) {
    for (const auto& [key, item] : value.as_dict().items) {
      budget.bytes(key.size() + sizeof(Value) + sizeof(std::string));
      items.emplace_back(key);
    }
  } else if (value.is_string()) {
    budget.bytes(value.as_string().size() * (sizeof(Value) + sizeof(std::string)));
    for (const std::string_view character : characters(value.as_string())) {
      items.emplace_back(std::string(character));
    }
  } else if (!value.is_undefined()) {
    throw Error(std::string("'") + value.type_name() + "' is not iterable");
  }
  return items;
}

}  // namespace seer::jinja
