#include "io/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "io/jinja/methods.h"
#include "io/jinja/text.h"

namespace seer::jinja {
namespace {

[[noreturn]] void fail_types(std::string_view op, const Value& a, const Value& b) {
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  throw Error("the operator " + std::string(op) + " is not supported between '" + a.type_name() +
              "' and '" + b.type_name() + "'");
}

Value integers(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else {
    if (b == 0) throw Error("division by zero");
    if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) return op == "%" ? Value(std::int64_t{0}) : negate(Value(a));
    const bool uneven = a % b != 0 && (a < 0) != (b < 0);  // Python rounds down
    result = op == "//" ? a / b - (uneven ? 1 : 0) : a % b + (uneven ? b : 0);
  }
  if (overflow) throw Error("an integer overflows 64 bits");
  return Value(result);
}

Value floats(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (b == 0) throw Error("division by zero");
  if (op == "/") return Value(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (op == "%") return Value(rest);
  return Value(std::round((a - rest) / b));
}

Value repeated(const Value& sequence, std::int64_t count, Budget& budget) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  const std::size_t size =
      sequence.is_string() ? sequence.as_string().size() : sequence.as_list().size();
  if (size != 0 && times > (std::size_t{1} << 40) / size)
    throw Error("the result of * is too large");
  budget.bytes(times * size * (sequence.is_string() ? 1 : sizeof(Value)));
  if (sequence.is_string()) {
    std::string text;
    text.reserve(times * size);
    for (std::size_t i = 0; size > 0 && i < times; ++i) text += sequence.as_string();
    return Value(std::move(text));
  }
  std::vector<Value> items;
  for (std::size_t i = 0; size > 0 && i < times; ++i) {
    items.insert(items.end(), sequence.as_list().begin(), sequence.as_list().end());
  }
  return sequence.is_tuple() ? Value::tuple(std::move(items), budget)
                             : Value::list(std::move(items), budget);
}

Value joined(const Value& a, const Value& b, Budget& budget) {
  std::vector<Value> items = a.as_list();
  items.insert(items.end(), b.as_list().begin(), b.as_list().end());
  return a.is_tuple() ? Value::tuple(std::move(items), budget)
                      : Value::list(std::move(items), budget);
}

std::int64_t slice_integer(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_int() && !value.is_bool()) {
    throw Error(std::string("a slice has integers, got ") + value.type_name());
  }
  return value.as_int();
}

// Python's slice.indices for one bound.
std::int64_t bound(const Value& value, std::int64_t missing, std::int64_t size, std::int64_t step) {
  if (value.is_none()) return missing;
  std::int64_t at = slice_integer(value);
  if (at < 0) at = std::max<std::int64_t>(at + size, step < 0 ? -1 : 0);
  return std::min(at, step < 0 ? size - 1 : size);
}

Value loop_attribute(const Loop& loop, const std::string& name) {
  const auto& items = loop.items.as_list();
  const auto length = static_cast<std::int64_t>(items.size());
  const std::int64_t at = loop.index0;
  if (name == "index") return Value(at + 1);
  if (name == "index0") return Value(at);
  if (name == "first") return Value(at == 0);
  if (name == "last") return Value(at + 1 == length);
  if (name == "length") return Value(length);
  if (name == "revindex") return Value(length - at);
  if (name == "revindex0") return Value(length - at - 1);
  if (name == "depth") return Value(loop.nesting);
  if (name == "depth0") return Value(loop.nesting - 1);
  if (name == "previtem") {
    return at > 0 ? items[static_cast<std::size_t>(at - 1)] : Value::undefined("loop.previtem");
  }
  if (name == "nextitem") {
    return at + 1 < length ? items[static_cast<std::size_t>(at + 1)]
                           : Value::undefined("loop.nextitem");
  }
  throw Error("loop." + name + " is not supported");
}

std::string missing_name(const Value& object, const std::string& name) {
  return std::string("'") + object.type_name() + "' has no '" + name + "': it";
}

}  // namespace

Value negate(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_float()) return Value(-value.as_float());
  if (!value.is_number())
    throw Error(std::string("- is not supported for '") + value.type_name() + "'");
  return integers("-", 0, value.as_int());
}

Value arithmetic(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return floats(op, a.as_float(), b.as_float());
    return integers(op, a.as_int(), b.as_int());
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    budget.bytes(a.as_string().size() + b.as_string().size());
    return Value(a.as_string() + b.as_string());
  }
  if (op == "+" && a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple())
    return joined(a, b, budget);
  if (op == "*") {
    if ((a.is_string() || a.is_list()) && (b.is_int() || b.is_bool()))
      return repeated(a, b.as_int(), budget);
    if ((b.is_string() || b.is_list()) && (a.is_int() || a.is_bool()))
      return repeated(b, a.as_int(), budget);
  }
  if (op == "%" && a.is_string()) throw Error("formatting a text with % is not supported");
  fail_types(op, a, b);
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_string()) {
    if (item.is_undefined()) fail_undefined(item);
    if (!item.is_string()) fail_types("in", item, container);
    budget.steps(container.as_string().size() / 64);
    return find(container.as_string(), item.as_string()) != std::string::npos;
  }
  if (container.is_list()) {
    for (const Value& other : container.as_list()) {
      if (equal(other, item, budget)) return true;
    }
    return false;
  }
  if (container.is_dict()) {
    return item.is_string() && container.as_dict().find(item.as_string(), budget) != nullptr;
  }
  if (container.is_undefined()) return false;
  fail_types("in", item, container);
}

Value attribute_of(const Value& object, const std::string& name, Budget& budget) {
  if (object.is_undefined()) fail_undefined(object);
  if (object.is_loop()) return loop_attribute(object.as_loop(), name);
  if (object.is_namespace()) {
    const auto& attributes = object.as_namespace().attributes;
    const auto found = attributes.find(name);
    return found == attributes.end() ? Value::undefined(missing_name(object, name)) : found->second;
  }
  if (has_method(object, name)) return Value::method(name, object, budget);
  if (object.is_dict()) {
    if (const Value* value = object.as_dict().find(name, budget)) return *value;
  }
  return Value::undefined(missing_name(object, name));
}

Value item_of(const Value& object, const Value& index, Budget& budget) {
  if (object.is_undefined()) fail_undefined(object);
  if (index.is_undefined()) fail_undefined(index);
  if (index.is_string()) {
    if (object.is_dict()) {
      if (const Value* value = object.as_dict().find(index.as_string(), budget)) return *value;
    }
    return attribute_of(object, index.as_string(), budget);
  }
  const bool number = index.is_int() || index.is_bool();
  if (number && object.is_list()) {
    const auto& items = object.as_list();
    const auto size = static_cast<std::int64_t>(items.size());
    const std::int64_t wanted = index.as_int();
    const std::int64_t at = wanted < 0 ? wanted + size : wanted;
    if (at >= 0 && at < size) return items[static_cast<std::size_t>(at)];
  } else if (number && object.is_string()) {
    budget.steps(object.as_string().size() / 16);
    const auto all = characters(object.as_string());
    const auto size = static_cast<std::int64_t>(all.size());
    const std::int64_t wanted = index.as_int();
    const std::int64_t at = wanted < 0 ? wanted + size : wanted;
    if (at >= 0 && at < size) return Value(std::string(all[static_cast<std::size_t>(at)]));
  }
  std::string name = "[";
  name += number ? std::to_string(index.as_int()) : "...";
  return Value::undefined(missing_name(object, name + "]"));
}

Value slice_of(const Value& object, const Value& start, const Value& stop, const Value& step,
               Budget& budget) {
  if (object.is_undefined()) fail_undefined(object);
  if (!object.is_string() && !object.is_list())
    return Value::undefined(missing_name(object, "[:]"));
  const std::int64_t stride = step.is_none() ? 1 : slice_integer(step);
  if (stride == 0) throw Error("a slice's step is not 0");
  std::vector<std::string_view> text;
  if (object.is_string()) {
    budget.bytes(object.as_string().size() * sizeof(std::string_view));
    text = characters(object.as_string());
  }
  const auto size =
      static_cast<std::int64_t>(object.is_string() ? text.size() : object.as_list().size());
  const std::int64_t from = bound(start, stride < 0 ? size - 1 : 0, size, stride);
  const std::int64_t to = bound(stop, stride < 0 ? -1 : size, size, stride);
  std::string out;
  std::vector<Value> items;
  for (std::int64_t at = from; stride < 0 ? at > to : at < to;) {
    if (object.is_string()) {
      out += text[static_cast<std::size_t>(at)];
    } else {
      items.push_back(object.as_list()[static_cast<std::size_t>(at)]);
    }
    if (__builtin_add_overflow(at, stride, &at)) break;
  }
  if (object.is_string()) {
    budget.bytes(out.size());
    return Value(std::move(out));
  }
  return object.is_tuple() ? Value::tuple(std::move(items), budget)
                           : Value::list(std::move(items), budget);
}

}  // namespace seer::jinja
