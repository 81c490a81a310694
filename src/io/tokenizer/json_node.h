// A value of a JSON file with the path that leads to it, for messages that name it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace seer::tok {

constexpr std::uint32_t kMaxId =
    (1u << 24) - 1;  // far above any vocabulary; tables are laid out up to the highest id

class JsonNode {
 public:
  // `source` must outlive the node.
  JsonNode(const Json& value, const std::string& source, std::string path)
      : value_(&value), source_(&source), path_(std::move(path)) {}

  // Throws std::runtime_error "<source>: <path>: <what>".
  [[noreturn]] void fail(const std::string& what) const;
  // "'x' is not supported (supported: a, b)"
  [[noreturn]] void fail_unsupported(std::initializer_list<std::string_view> supported) const;

  bool is_null() const { return value_->is_null(); }
  bool is_object() const { return value_->is_object(); }
  bool is_string() const { return value_->is_string(); }
  bool has(const std::string& name) const;

  JsonNode operator[](const std::string& name) const;  // must be there
  std::vector<JsonNode> elements() const;              // of an array
  const Json& object() const;                          // checks the type
  const std::string& string() const;
  bool boolean() const;
  bool boolean_or(const std::string& name, bool otherwise) const;  // absent or null: `otherwise`
  std::uint32_t id() const;                                        // 0 to kMaxId
  const std::string& type() const { return (*this)["type"].string(); }

  // Refuses an object with other fields than these.
  void expect_fields(std::initializer_list<std::string_view> names) const;

 private:
  const Json* value_;
  const std::string* source_;
  std::string path_;
};

}  // namespace seer::tok
