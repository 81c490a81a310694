// Methods of texts and dicts, and the functions that a template finds.
#pragma once

#include <ctime>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/jinja/value.h"

namespace seer::jinja {

// The arguments of a call or a filter, with their values.
struct Given {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at this position or of this name; nothing where it is missing. Takes it out of `named`.
  std::optional<Value> take(std::size_t position, std::string_view name);
  // Throws when there are more positional ones than `count`, or named ones that nobody took.
  void finish(std::string_view callee, std::size_t count) const;
};

struct Environment {
  Budget& budget;
  std::function<std::tm()> local_time;
  std::deque<Namespace>& namespaces;
};

// Whether Python's type has a method of this name. Throws for one that Seer has not.
bool has_method(const Value& object, std::string_view name);

// Whether a template finds a function of this name where no variable has it.
bool has_function(std::string_view name);

Value call(const Value& callee, Given given, Environment& environment);

}  // namespace seer::jinja
