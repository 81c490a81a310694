#include "io/jinja/json_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "base/json.h"
#include "io/jinja/text.h"

namespace seer::jinja {
namespace {

class Writer {
 public:
  Writer(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  void write(const Value& value, int level) {
    budget_.steps(1);
    if (value.is_none()) {
      put("null");
    } else if (value.is_bool()) {
      put(value.as_bool() ? "true" : "false");
    } else if (value.is_int()) {
      put(std::to_string(value.as_int()));
    } else if (value.is_float()) {
      write_float(value.as_float());
    } else if (value.is_string()) {
      write_string(value.as_string());
    } else if (value.is_list()) {
      write_list(value.as_list(), level);
    } else if (value.is_dict()) {
      write_dict(value.as_dict(), level);
    } else {
      throw Error(std::string("tojson: a value of type ") + value.type_name() +
                  " has no form in JSON");
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void put(std::string_view text) {
    budget_.bytes(text.size());
    out_ += text;
  }

  void write_float(double value) {
    if (std::isnan(value)) return put("NaN");
    if (std::isinf(value)) return put(value < 0 ? "-Infinity" : "Infinity");
    put(float_text(value));
  }

  void write_string(std::string_view text) {
    budget_.bytes(text.size());
    out_ += '"';
    while (!text.empty()) {
      std::size_t size = 0;
      const char32_t code = decode_character(text, size);
      switch (code) {
        case '"': out_ += "\\\""; break;
        case '\\': out_ += "\\\\"; break;
        case '\n': out_ += "\\n"; break;
        case '\r': out_ += "\\r"; break;
        case '\t': out_ += "\\t"; break;
        case '\f': out_ += "\\f"; break;
        case '\b': out_ += "\\b"; break;
        default:
          if (code < 0x20 || (style_.ensure_ascii && code >= 0x7F)) {
            write_escape(code);
          } else {
            out_ += text.substr(0, size);
          }
      }
      text.remove_prefix(size);
    }
    out_ += '"';
  }

  void write_escape(char32_t code) {
    char escaped[16];
    const auto unit = [&](char32_t value) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(value));
      out_ += escaped;
    };
    if (code < 0x10000) return unit(code);
    unit(0xD800 + ((code - 0x10000) >> 10));
    unit(0xDC00 + ((code - 0x10000) & 0x3FF));
  }

  void new_line(int level) {
    if (!style_.indent) return;
    put("\n");
    put(std::string(static_cast<std::size_t>(*style_.indent * level), ' '));
  }

  void write_list(const std::vector<Value>& items, int level) {
    if (items.empty()) return put("[]");
    put("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      new_line(level + 1);
      write(items[i], level + 1);
    }
    new_line(level);
    put("]");
  }

  void write_dict(const Dict& dict, int level) {
    if (dict.items.empty()) return put("{}");
    std::vector<const std::pair<std::string, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::sort(items.begin(), items.end(),
                [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    put("{");
    bool first = true;
    for (const auto* item : items) {
      if (!first) put(style_.item_separator);
      first = false;
      new_line(level + 1);
      write_string(item->first);
      put(style_.key_separator);
      write(item->second, level + 1);
    }
    new_line(level);
    put("}");
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
};

Value convert(const nlohmann::ordered_json& json, const std::string& source, Budget& budget) {
  using Type = nlohmann::ordered_json::value_t;
  switch (json.type()) {
    case Type::null: return Value();
    case Type::boolean: return Value(json.get<bool>());
    case Type::number_integer: return Value(json.get<std::int64_t>());
    case Type::number_float: return Value(json.get<double>());
    case Type::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        throw std::runtime_error(source + ": the integer " + std::to_string(number) +
                                 " does not fit into 64 signed bits");
      }
      return Value(static_cast<std::int64_t>(number));
    }
    case Type::string: return Value(json.get<std::string>());
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(convert(item, source, budget));
      return Value::list(std::move(items), budget);
    }
    case Type::object: {
      std::vector<std::pair<std::string, Value>> items;
      items.reserve(json.size());
      for (const auto& [key, item] : json.items()) {
        items.emplace_back(key, convert(item, source, budget));
      }
      return Value::dict(std::move(items), budget);
    }
    default: throw std::runtime_error(source + ": no JSON value");
  }
}

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  Writer writer(style, budget);
  writer.write(value, 0);
  return writer.take();
}

Value from_json(std::string_view text, const std::string& source, Budget& budget) {
  parse_json(text, source);  // the checks; its result has lost the order of the keys
  return convert(nlohmann::ordered_json::parse(text), source, budget);
}

}  // namespace seer::jinja
