#include "io/jinja/filters.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "io/jinja/json_text.h"
#include "io/jinja/operators.h"
#include "io/jinja/tests.h"
#include "io/jinja/text.h"

namespace seer::jinja {
namespace {

using Function = Value (*)(const Value&, Given&, Budget&);

std::int64_t integer(const Value& value, const char* what) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_int() && !value.is_bool()) {
    throw Error(std::string(what) + ": expected an integer, got a value of type " +
                value.type_name());
  }
  return value.as_int();
}

Value text_value(const Value& value, Budget& budget) {
  return value.is_string() ? value : Value(to_text(value, budget));
}

Value trim(const Value& value, Given& given, Budget& budget) {
  const std::optional<Value> chars = given.take(0, "chars");
  given.finish("trim", 1);
  const Value text = text_value(value, budget);
  std::optional<std::string_view> set;
  if (chars && !chars->is_none()) {
    if (!chars->is_string()) throw Error("trim: expected a text of characters");
    set = chars->as_string();
    budget.steps(text.as_string().size() / 64 * (set->size() + 1));
  }
  const std::string_view trimmed = strip(text.as_string(), Side::kBoth, set);
  budget.bytes(trimmed.size());
  return Value(std::string(trimmed));
}

Value tojson(const Value& value, Given& given, Budget& budget) {
  // The order of the arguments is that of transformers.
  JsonStyle style;
  const std::optional<Value> ensure_ascii = given.take(0, "ensure_ascii");
  const std::optional<Value> indent = given.take(1, "indent");
  const std::optional<Value> separators = given.take(2, "separators");
  const std::optional<Value> sort_keys = given.take(3, "sort_keys");
  given.finish("tojson", 4);
  style.ensure_ascii = ensure_ascii && ensure_ascii->truthy();
  style.sort_keys = sort_keys && sort_keys->truthy();
  if (indent && !indent->is_none()) {
    style.indent =
        static_cast<int>(std::clamp<std::int64_t>(integer(*indent, "tojson: indent"), 0, 64));
    style.item_separator.assign(1, ',');
  }
  if (separators && !separators->is_none()) {
    if (!separators->is_list() || separators->as_list().size() != 2 ||
        !separators->as_list()[0].is_string() || !separators->as_list()[1].is_string()) {
      throw Error("tojson: separators are two texts");
    }
    style.item_separator = separators->as_list()[0].as_string();
    style.key_separator = separators->as_list()[1].as_string();
  }
  return Value(to_json(value, style, budget));
}

Value length(const Value& value, Given& given, Budget& budget) {
  given.finish("length", 0);
  if (value.is_string()) {
    budget.steps(value.as_string().size() / 64);
    return Value(static_cast<std::int64_t>(count_characters(value.as_string())));
  }
  if (value.is_list()) return Value(static_cast<std::int64_t>(value.as_list().size()));
  if (value.is_dict()) return Value(static_cast<std::int64_t>(value.as_dict().items.size()));
  if (value.is_undefined()) return Value(std::int64_t{0});
  throw Error(std::string("length: a value of type ") + value.type_name() + " has no length");
}

Value join(const Value& value, Given& given, Budget& budget) {
  const Value separator = text_value(given.take(0, "d").value_or(Value("")), budget);
  const std::optional<Value> attribute = given.take(1, "attribute");
  given.finish("join", 2);
  std::string out;
  bool first = true;
  for (const Value& item : iterate(value, budget)) {
    if (!first) out += separator.as_string();
    const Value part = text_value(attribute ? item_of(item, *attribute, budget) : item, budget);
    budget.bytes(part.as_string().size() + separator.as_string().size());
    out += part.as_string();
    first = false;
  }
  return Value(std::move(out));
}

Value default_value(const Value& value, Given& given, Budget&) {
  const Value otherwise = given.take(0, "default_value").value_or(Value(""));
  const bool falsy_too = given.take(1, "boolean").value_or(Value(false)).truthy();
  given.finish("default", 2);
  return value.is_undefined() || (falsy_too && !value.truthy()) ? otherwise : value;
}

Value string(const Value& value, Given& given, Budget& budget) {
  given.finish("string", 0);
  return text_value(value, budget);
}

Value ascii_case(const Value& value, Given& given, Budget& budget, const char* name,
                 std::optional<std::string> (*change)(std::string_view)) {
  given.finish(name, 0);
  const Value text = text_value(value, budget);
  budget.bytes(text.as_string().size());
  std::optional<std::string> changed = change(text.as_string());
  if (!changed) throw Error(std::string(name) + ": only ASCII text is supported");
  return Value(*std::move(changed));
}

std::optional<std::string> to_capitalized(std::string_view text) {
  std::optional<std::string> out = to_lower(text);
  if (out && !out->empty()) (*out)[0] = (*to_upper(out->substr(0, 1)))[0];
  return out;
}

// Jinja's title: words begin after white space, - ( { [ and <.
std::optional<std::string> to_title(std::string_view text) {
  std::optional<std::string> out = to_lower(text);
  if (!out) return out;
  bool start = true;
  for (char& c : *out) {
    const bool letter = c >= 'a' && c <= 'z';
    if (start && letter) c = static_cast<char>(c - 'a' + 'A');
    start = is_space(static_cast<unsigned char>(c)) ||
            std::string_view("-({[<").find(c) != std::string_view::npos;
  }
  return out;
}

Value upper(const Value& v, Given& g, Budget& b) {
  return ascii_case(v, g, b, "upper", to_upper);
}
Value lower(const Value& v, Given& g, Budget& b) {
  return ascii_case(v, g, b, "lower", to_lower);
}
Value capitalize(const Value& v, Given& g, Budget& b) {
  return ascii_case(v, g, b, "capitalize", to_capitalized);
}
Value title(const Value& v, Given& g, Budget& b) {
  return ascii_case(v, g, b, "title", to_title);
}

Value items(const Value& value, Given& given, Budget& budget) {
  given.finish("items", 0);
  if (value.is_undefined()) return Value::list({}, budget);
  if (!value.is_dict())
    throw Error(std::string("items: expected a dict, got a value of type ") + value.type_name());
  std::vector<Value> pairs;
  for (const auto& [key, item] : value.as_dict().items) {
    budget.bytes(key.size() + sizeof(std::string));
    pairs.push_back(Value::tuple({Value(key), item}, budget));
  }
  return Value::list(std::move(pairs), budget);
}

Value first(const Value& value, Given& given, Budget& budget) {
  given.finish("first", 0);
  const std::vector<Value> all = iterate(value, budget);
  return all.empty() ? Value::undefined("the first item of an empty sequence") : all.front();
}

Value last(const Value& value, Given& given, Budget& budget) {
  given.finish("last", 0);
  const std::vector<Value> all = iterate(value, budget);
  return all.empty() ? Value::undefined("the last item of an empty sequence") : all.back();
}

Value list(const Value& value, Given& given, Budget& budget) {
  given.finish("list", 0);
  return Value::list(iterate(value, budget), budget);
}

Value reverse(const Value& value, Given& given, Budget& budget) {
  given.finish("reverse", 0);
  if (value.is_string()) return slice_of(value, Value(), Value(), Value(std::int64_t{-1}), budget);
  std::vector<Value> all = iterate(value, budget);
  std::reverse(all.begin(), all.end());
  return Value::list(std::move(all), budget);
}

Value absolute(const Value& value, Given& given, Budget&) {
  given.finish("abs", 0);
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_number())
    throw Error(std::string("abs: expected a number, got a value of type ") + value.type_name());
  if (value.is_float()) return value.as_float() < 0 ? negate(value) : value;
  return value.as_int() < 0 ? negate(value) : Value(value.as_int());
}

Value to_int(const Value& value, Given& given, Budget&) {
  const Value otherwise = given.take(0, "default").value_or(Value(std::int64_t{0}));
  given.finish("int", 1);
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_int() || value.is_bool()) return Value(value.as_int());
  if (value.is_float() && std::abs(value.as_float()) < 9e18)
    return Value(static_cast<std::int64_t>(value.as_float()));
  if (value.is_string()) {
    const std::string_view text = strip(value.as_string(), Side::kBoth, std::nullopt);
    std::int64_t number = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return Value(number);
  }
  return otherwise;
}

// A test's name and arguments as select and its kin take them, from `from` on.
bool passes(const Value& item, const Given& given, std::size_t from, Budget& budget) {
  if (given.positional.size() <= from) return item.truthy();
  if (!given.positional[from].is_string()) throw Error("expected a test's name");
  const std::vector<Value> arguments(
      given.positional.begin() + static_cast<std::ptrdiff_t>(from) + 1, given.positional.end());
  return run_test(given.positional[from].as_string(), item, arguments, budget);
}

Value selected(const Value& value, const Given& given, bool by_attribute, bool wanted,
               Budget& budget) {
  if (!given.named.empty()) throw Error("select and its kin take no named arguments");
  if (by_attribute && given.positional.empty()) throw Error("expected an attribute's name");
  std::vector<Value> kept;
  for (const Value& item : iterate(value, budget)) {
    budget.steps(1);
    const Value tested = by_attribute ? item_of(item, given.positional[0], budget) : item;
    if (passes(tested, given, by_attribute ? 1 : 0, budget) == wanted) kept.push_back(item);
  }
  return Value::list(std::move(kept), budget);
}

Value select(const Value& v, Given& g, Budget& b) {
  return selected(v, g, false, true, b);
}
Value reject(const Value& v, Given& g, Budget& b) {
  return selected(v, g, false, false, b);
}
Value selectattr(const Value& v, Given& g, Budget& b) {
  return selected(v, g, true, true, b);
}
Value rejectattr(const Value& v, Given& g, Budget& b) {
  return selected(v, g, true, false, b);
}

Value replace_text(const Value& value, Given& given, Budget& budget);
Value map_items(const Value& value, Given& given, Budget& budget);

const std::map<std::string_view, Function>& table() {
  static const std::map<std::string_view, Function> kFilters = {
      {"abs", absolute},
      {"capitalize", capitalize},
      {"count", length},
      {"d", default_value},
      {"default", default_value},
      {"first", first},
      {"int", to_int},
      {"items", items},
      {"join", join},
      {"last", last},
      {"length", length},
      {"list", list},
      {"lower", lower},
      {"map", map_items},
      {"reject", reject},
      {"rejectattr", rejectattr},
      {"replace", replace_text},
      {"reverse", reverse},
      {"select", select},
      {"selectattr", selectattr},
      {"string", string},
      {"title", title},
      {"tojson", tojson},
      {"trim", trim},
      {"upper", upper},
  };
  return kFilters;
}

Value replace_text(const Value& value, Given& given, Budget& budget) {
  std::deque<Namespace> none;
  Environment environment{budget, {}, none};
  if (given.positional.size() == 3 && given.positional[2].is_none()) given.positional.pop_back();
  for (Value& argument : given.positional) {
    if (!argument.is_number()) argument = text_value(argument, budget);
  }
  return call(Value::method("replace", text_value(value, budget), budget), std::move(given),
              environment);
}

Value map_items(const Value& value, Given& given, Budget& budget) {
  const std::optional<Value> attribute = given.take(1000, "attribute");
  const std::optional<Value> otherwise = attribute ? given.take(1000, "default") : std::nullopt;
  std::vector<Value> mapped;
  if (!attribute && (given.positional.empty() || !given.positional[0].is_string())) {
    throw Error("map: expected attribute=NAME or a filter's name");
  }
  if (attribute) given.finish("map", 0);
  for (const Value& item : iterate(value, budget)) {
    budget.steps(1);
    if (attribute) {
      Value found = item_of(item, *attribute, budget);
      mapped.push_back(found.is_undefined() && otherwise ? *otherwise : std::move(found));
      continue;
    }
    const std::string& name = given.positional[0].as_string();
    const auto filter = table().find(name);
    if (filter == table().end() || name == "map")
      throw Error("map: the filter '" + name + "' is not supported");
    Given inner{{given.positional.begin() + 1, given.positional.end()}, given.named};
    mapped.push_back(filter->second(item, inner, budget));
  }
  return Value::list(std::move(mapped), budget);
}

}  // namespace

bool is_filter(std::string_view name) {
  return table().contains(name);
}

Value run_filter(const std::string& name, const Value& value, Given given,
                 Environment& environment) {
  return table().at(name)(value, given, environment.budget);
}

}  // namespace seer::jinja
