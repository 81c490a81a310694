#include "io/jinja/methods.h"

#include <algorithm>
#include <set>

#include "io/jinja/text.h"

namespace seer::jinja {
namespace {

using Names = std::set<std::string_view>;

const Names kTextMethods = {
    "strip", "lstrip", "rstrip", "split", "startswith",   "endswith",     "replace",    "upper",
    "lower", "count",  "find",   "join",  "removeprefix", "removesuffix", "splitlines", "isdigit"};
const Names kOtherTextMethods = {
    "capitalize", "casefold",    "center",  "encode",  "expandtabs", "format",  "format_map",
    "index",      "isalnum",     "isalpha", "isascii", "isdecimal",  "islower", "isidentifier",
    "isnumeric",  "isprintable", "isspace", "istitle", "isupper",    "ljust",   "maketrans",
    "partition",  "rfind",       "rindex",  "rjust",   "rpartition", "rsplit",  "swapcase",
    "title",      "translate",   "zfill"};
const Names kDictMethods = {"get", "items", "keys", "values"};
const Names kOtherDictMethods = {"clear",   "copy",       "fromkeys", "pop",
                                 "popitem", "setdefault", "update"};
const Names kOtherListMethods = {"append", "clear", "copy",   "count",   "extend", "index",
                                 "insert", "pop",   "remove", "reverse", "sort"};
const Names kFunctions = {"raise_exception", "strftime_now", "range", "namespace", "dict"};

constexpr std::int64_t kMaxRange = 100'000;  // Jinja's sandbox has the same

const std::string& text_of(const Value& value, std::string_view callee) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_string()) {
    throw Error(std::string(callee) + ": expected a text, got a value of type " +
                value.type_name());
  }
  return value.as_string();
}

std::int64_t int_of(const Value& value, std::string_view callee) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_int() && !value.is_bool()) {
    throw Error(std::string(callee) + ": expected an integer, got a value of type " +
                value.type_name());
  }
  return value.as_int();
}

Value texts(const std::vector<std::string_view>& parts, Budget& budget) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) {
    budget.bytes(part.size() + sizeof(std::string));
    items.emplace_back(std::string(part));
  }
  return Value::list(std::move(items), budget);
}

Value required(std::optional<Value> value, std::string_view callee, std::string_view name) {
  if (!value)
    throw Error(std::string(callee) + ": the argument '" + std::string(name) + "' is missing");
  return *std::move(value);
}

Value strip_method(const std::string& text, std::string_view name, Given& given, Budget& budget) {
  const std::optional<Value> set = given.take(0, "chars");
  given.finish(name, 1);
  const Side side = name == "strip" ? Side::kBoth : (name == "lstrip" ? Side::kLeft : Side::kRight);
  std::optional<std::string_view> characters_of_set;
  if (set && !set->is_none()) {
    characters_of_set = text_of(*set, name);
    budget.steps(text.size() / 64 * (characters_of_set->size() + 1));
  }
  const std::string_view stripped = strip(text, side, characters_of_set);
  budget.bytes(stripped.size());
  return Value(std::string(stripped));
}

Value split_method(const std::string& text, Given& given, Budget& budget) {
  const std::optional<Value> separator = given.take(0, "sep");
  const std::optional<Value> limit = given.take(1, "maxsplit");
  given.finish("split", 2);
  std::optional<std::string_view> at;
  if (separator && !separator->is_none()) {
    at = text_of(*separator, "split");
    if (at->empty()) throw Error("split: the separator is empty");
  }
  budget.bytes(text.size() * 2);
  return texts(split(text, at, limit ? int_of(*limit, "split") : -1), budget);
}

Value splitlines_method(const std::string& text, Given& given, Budget& budget) {
  given.finish("splitlines", 0);
  std::vector<std::string_view> lines;
  std::string_view rest = text;
  budget.bytes(text.size() * 2);
  while (!rest.empty()) {
    std::size_t end = 0;
    std::size_t size = 0;
    bool broken = false;
    while (end < rest.size()) {
      const char32_t code = decode_character(rest.substr(end), size);
      broken = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
               code == 0x2028 || code == 0x2029;
      if (broken) break;
      end += size;
    }
    lines.push_back(rest.substr(0, end));
    if (broken && rest.substr(end).starts_with("\r\n")) size = 2;
    rest.remove_prefix(broken ? end + size : end);
  }
  return texts(lines, budget);
}

bool has_affix(const std::string& text, const Value& affix, bool start) {
  const auto one = [&](const Value& value) {
    const std::string& part = text_of(value, start ? "startswith" : "endswith");
    return start ? text.starts_with(part) : text.ends_with(part);
  };
  if (!affix.is_tuple()) return one(affix);
  return std::any_of(affix.as_list().begin(), affix.as_list().end(), one);
}

Value replace_method(const std::string& text, Given& given, Budget& budget) {
  const Value from = required(given.take(0, "old"), "replace", "old");
  const Value to = required(given.take(1, "new"), "replace", "new");
  const std::optional<Value> count = given.take(2, "count");
  given.finish("replace", 3);
  const std::string& old_text = text_of(from, "replace");
  const std::string& new_text = text_of(to, "replace");
  const std::int64_t limit = count ? int_of(*count, "replace") : -1;
  budget.bytes(text.size());
  const std::size_t hits = count_occurrences(text, old_text);
  if (!new_text.empty() && hits > (std::size_t{1} << 40) / new_text.size())
    throw Error("replace: the result is too large");
  budget.bytes(limit < 0 ? hits * new_text.size()
                         : std::min(hits, static_cast<std::size_t>(limit)) * new_text.size());
  return Value(replace(text, old_text, new_text, limit));
}

Value join_method(const std::string& separator, Given& given, Budget& budget) {
  const std::vector<Value> items =
      iterate(required(given.take(0, "iterable"), "join", "iterable"), budget);
  given.finish("join", 1);
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string& part = text_of(items[i], "join");
    budget.bytes(part.size() + separator.size());
    if (i > 0) out += separator;
    out += part;
  }
  return Value(std::move(out));
}

Value one_argument_method(const std::string& text, std::string_view name, Given& given,
                          Budget& budget) {
  const Value argument = required(given.take(0, "text"), name, "text");
  given.finish(name, 1);
  budget.steps(text.size() / 64);
  if (name == "startswith" || name == "endswith")
    return Value(has_affix(text, argument, name == "startswith"));
  const std::string& part = text_of(argument, name);
  if (name == "count") return Value(static_cast<std::int64_t>(count_occurrences(text, part)));
  if (name == "find") {
    const std::size_t at = find(text, part);
    if (at == std::string::npos) return Value(std::int64_t{-1});
    return Value(static_cast<std::int64_t>(count_characters(std::string_view(text).substr(0, at))));
  }
  budget.bytes(text.size());
  if (name == "removeprefix")
    return Value(text.starts_with(part) ? text.substr(part.size()) : text);
  return Value(text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text);
}

Value text_method(const std::string& text, const std::string& name, Given& given, Budget& budget) {
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return strip_method(text, name, given, budget);
  if (name == "split") return split_method(text, given, budget);
  if (name == "splitlines") return splitlines_method(text, given, budget);
  if (name == "replace") return replace_method(text, given, budget);
  if (name == "join") return join_method(text, given, budget);
  if (name == "upper" || name == "lower") {
    given.finish(name, 0);
    budget.bytes(text.size());
    std::optional<std::string> changed = name == "upper" ? to_upper(text) : to_lower(text);
    if (!changed) throw Error(name + ": only ASCII text is supported");
    return Value(*std::move(changed));
  }
  if (name == "isdigit") {
    given.finish(name, 0);
    return Value(!text.empty() && text.find_first_not_of("0123456789") == std::string::npos);
  }
  return one_argument_method(text, name, given, budget);
}

Value dict_method(const Dict& dict, const std::string& name, Given& given, Budget& budget) {
  if (name == "get") {
    const Value key = required(given.take(0, "key"), name, "key");
    const std::optional<Value> otherwise = given.take(1, "default");
    given.finish(name, 2);
    const Value* found = key.is_string() ? dict.find(key.as_string(), budget) : nullptr;
    return found != nullptr ? *found : otherwise.value_or(Value());
  }
  given.finish(name, 0);
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items) {
    budget.bytes(key.size() + sizeof(std::string));
    if (name == "items") {
      items.push_back(Value::tuple({Value(key), value}, budget));
    } else {
      items.push_back(name == "keys" ? Value(key) : value);
    }
  }
  return Value::list(std::move(items), budget);
}

// What strftime takes in Python and in C alike.
Value strftime_now(Given& given, Environment& environment) {
  const Value format = required(given.take(0, "format"), "strftime_now", "format");
  given.finish("strftime_now", 1);
  const std::string& text = text_of(format, "strftime_now");
  if (text.empty()) return Value("");
  if (text.size() > 256) throw Error("strftime_now: the format is longer than 256 bytes");
  for (std::size_t at = text.find('%'); at != std::string::npos; at = text.find('%', at + 1)) {
    if (at + 1 < text.size() && text[at + 1] == '-') ++at;
    if (at + 1 >= text.size() ||
        std::string_view("aAbBcdDeFHIjlmMpSTuUwWxXyYZz%").find(text[at + 1]) ==
            std::string_view::npos) {
      throw Error("strftime_now: the format '" + text + "' has a conversion that is not supported");
    }
    ++at;
  }
  const std::tm now = environment.local_time();
  char out[4096];
  const std::size_t size = std::strftime(out, sizeof out, text.c_str(), &now);
  return Value(std::string(out, size));
}

Value range(Given& given, Budget& budget) {
  if (given.positional.empty()) throw Error("range: expected 1 to 3 arguments");
  std::int64_t parts[3] = {0, 0, 1};
  const std::size_t count = given.positional.size();
  given.finish("range", 3);
  if (count == 1) {
    parts[1] = int_of(given.positional[0], "range");
  } else {
    for (std::size_t i = 0; i < count; ++i) parts[i] = int_of(given.positional[i], "range");
  }
  const auto [start, stop, step] = parts;
  if (step == 0) throw Error("range: the step is not 0");
  std::vector<Value> items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<std::int64_t>(items.size()) == kMaxRange) {
      throw Error("range: more than " + std::to_string(kMaxRange) + " items");
    }
    items.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(std::move(items), budget);
}

Value make_namespace(Given& given, Environment& environment) {
  if (environment.namespaces.size() >= 10'000) throw Error("more than 10000 namespaces");
  environment.budget.bytes(sizeof(Namespace));
  Namespace& made = environment.namespaces.emplace_back();
  if (given.positional.size() > 1) throw Error("namespace: at most one dict, and named arguments");
  if (!given.positional.empty()) {
    if (!given.positional[0].is_dict())
      throw Error("namespace: expected a dict and named arguments");
    for (const auto& [key, value] : given.positional[0].as_dict().items)
      made.attributes[key] = value;
  }
  for (auto& [name, value] : given.named) made.attributes[name] = value;
  return Value(&made);
}

Value call_function(const std::string& name, Given& given, Environment& environment) {
  if (name == "raise_exception") {
    const Value message = required(given.take(0, "message"), name, "message");
    throw Error("the template refuses these messages: " + to_text(message, environment.budget));
  }
  if (name == "strftime_now") return strftime_now(given, environment);
  if (name == "range") return range(given, environment.budget);
  if (name == "namespace") return make_namespace(given, environment);
  if (!given.positional.empty()) throw Error("dict: only named arguments are supported");
  return Value::dict(std::move(given.named), environment.budget);
}

}  // namespace

std::optional<Value> Given::take(std::size_t position, std::string_view name) {
  const auto found = std::find_if(named.begin(), named.end(),
                                  [&](const auto& argument) { return argument.first == name; });
  if (position < positional.size()) {
    if (found != named.end())
      throw Error("the argument '" + std::string(name) + "' is given twice");
    return positional[position];
  }
  if (found == named.end()) return std::nullopt;
  Value value = found->second;
  named.erase(found);
  return value;
}

void Given::finish(std::string_view callee, std::size_t count) const {
  if (positional.size() > count) {
    throw Error(std::string(callee) + ": at most " + std::to_string(count) + " arguments, got " +
                std::to_string(positional.size()));
  }
  if (!named.empty())
    throw Error(std::string(callee) + ": the argument '" + named[0].first + "' is not supported");
}

bool has_method(const Value& object, std::string_view name) {
  const auto known = [&](const Names& supported, const Names& others) {
    if (supported.contains(name)) return true;
    if (!others.contains(name)) return false;
    throw Error(std::string("the method '") + std::string(name) + "' of '" + object.type_name() +
                "' is not supported");
  };
  if (object.is_string()) return known(kTextMethods, kOtherTextMethods);
  if (object.is_dict()) return known(kDictMethods, kOtherDictMethods);
  if (object.is_list()) return known({}, kOtherListMethods);
  return false;
}

bool has_function(std::string_view name) {
  return kFunctions.contains(name);
}

Value call(const Value& callee, Given given, Environment& environment) {
  if (callee.is_undefined()) fail_undefined(callee);
  if (!callee.is_callable())
    throw Error(std::string("a value of type ") + callee.type_name() + " cannot be called");
  const Callable& target = callee.as_callable();
  if (!target.has_self) return call_function(target.name, given, environment);
  if (target.self.is_string())
    return text_method(target.self.as_string(), target.name, given, environment.budget);
  return dict_method(target.self.as_dict(), target.name, given, environment.budget);
}

}  // namespace seer::jinja
