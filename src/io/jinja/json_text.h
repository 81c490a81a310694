// JSON in and out of templates.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/jinja/value.h"

namespace seer::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<int> indent;  // spaces a level; none: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// As Python's json.dumps.
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

// The value of a JSON text, with its keys in their order. Throws std::runtime_error that names the source.
Value from_json(std::string_view text, const std::string& source, Budget& budget);

}  // namespace seer::jinja
