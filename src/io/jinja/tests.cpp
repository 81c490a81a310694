#include "io/jinja/tests.h"

#include <map>
#include <string>

#include "io/jinja/operators.h"

namespace seer::jinja {
namespace {

using Arguments = std::vector<Value>;
using Function = bool (*)(const Value&, const Arguments&, Budget&);

struct Entry {
  std::size_t arguments;
  Function run;
};

std::int64_t integer(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_int() && !value.is_bool())
    throw Error(std::string("expected an int, got ") + value.type_name());
  return value.as_int();
}

bool divisible(const Value& value, const Arguments& arguments, Budget&) {
  const std::int64_t divisor = integer(arguments[0]);
  if (divisor == 0) throw Error("division by zero");
  return divisor == -1 || integer(value) % divisor == 0;
}

bool is_iterable(const Value& v, const Arguments&, Budget&) {
  return v.is_undefined() || v.is_string() || v.is_list() || v.is_dict();
}

bool less(const Value& v, const Arguments& a, Budget& budget) {
  return compare(v, a[0], budget) < 0;
}
bool less_equal(const Value& v, const Arguments& a, Budget& budget) {
  return compare(v, a[0], budget) <= 0;
}
bool greater(const Value& v, const Arguments& a, Budget& budget) {
  return compare(v, a[0], budget) > 0;
}
bool greater_equal(const Value& v, const Arguments& a, Budget& budget) {
  return compare(v, a[0], budget) >= 0;
}
bool equals(const Value& v, const Arguments& a, Budget& budget) {
  return equal(v, a[0], budget);
}
bool differs(const Value& v, const Arguments& a, Budget& budget) {
  return !equal(v, a[0], budget);
}
bool within(const Value& v, const Arguments& a, Budget& budget) {
  return contains(a[0], v, budget);
}

const std::map<std::string_view, Entry>& table() {
  static const std::map<std::string_view, Entry> kTests = {
      {"defined", {0, [](const Value& v, const Arguments&, Budget&) { return !v.is_undefined(); }}},
      {"undefined",
       {0, [](const Value& v, const Arguments&, Budget&) { return v.is_undefined(); }}},
      {"none", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_none(); }}},
      {"string", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_string(); }}},
      {"mapping", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_dict(); }}},
      {"iterable", {0, is_iterable}},
      {"sequence", {0, is_iterable}},
      {"number", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_number(); }}},
      {"integer", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_int(); }}},
      {"float", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_float(); }}},
      {"boolean", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_bool(); }}},
      {"true",
       {0, [](const Value& v, const Arguments&, Budget&) { return v.is_bool() && v.as_bool(); }}},
      {"false",
       {0, [](const Value& v, const Arguments&, Budget&) { return v.is_bool() && !v.as_bool(); }}},
      {"callable", {0, [](const Value& v, const Arguments&, Budget&) { return v.is_callable(); }}},
      {"odd", {0, [](const Value& v, const Arguments&, Budget&) { return integer(v) % 2 != 0; }}},
      {"even", {0, [](const Value& v, const Arguments&, Budget&) { return integer(v) % 2 == 0; }}},
      {"divisibleby", {1, divisible}},
      {"equalto", {1, equals}},
      {"eq", {1, equals}},
      {"ne", {1, differs}},
      {"in", {1, within}},
      {"lt", {1, less}},
      {"lessthan", {1, less}},
      {"le", {1, less_equal}},
      {"gt", {1, greater}},
      {"greaterthan", {1, greater}},
      {"ge", {1, greater_equal}},
  };
  return kTests;
}

}  // namespace

bool is_test(std::string_view name) {
  return table().contains(name);
}

bool test_takes_argument(std::string_view name) {
  const auto found = table().find(name);
  return found != table().end() && found->second.arguments > 0;
}

bool run_test(std::string_view name, const Value& value, const std::vector<Value>& arguments,
              Budget& budget) {
  const auto found = table().find(name);
  const std::string test = "the test '" + std::string(name) + "'";
  if (found == table().end()) throw Error(test + " is not supported");
  if (arguments.size() != found->second.arguments) {
    throw Error(test + " takes " + std::to_string(found->second.arguments) + " arguments, got " +
                std::to_string(arguments.size()));
  }
  return found->second.run(value, arguments, budget);
}

}  // namespace seer::jinja
