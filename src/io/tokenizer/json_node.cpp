#include "io/tokenizer/json_node.h"

#include <algorithm>
#include <stdexcept>

#include "base/quote.h"

namespace seer::tok {
namespace {

std::string shown(const Json& value) {
  if (value.is_string()) return quote(value.get_ref<const std::string&>());
  if (value.is_object() || value.is_array()) return std::string("an ") + value.type_name();
  return value.dump();
}

}  // namespace

void JsonNode::fail(const std::string& what) const {
  throw std::runtime_error(*source_ + ": " + (path_.empty() ? "" : printable(path_, 200) + ": ") +
                           what);
}

void JsonNode::fail_unsupported(std::initializer_list<std::string_view> supported) const {
  std::string list;
  for (const std::string_view name : supported)
    list += (list.empty() ? "" : ", ") + std::string(name);
  fail(shown(*value_) + " is not supported (supported: " + list + ")");
}

bool JsonNode::has(const std::string& name) const {
  return object().contains(name);
}

JsonNode JsonNode::operator[](const std::string& name) const {
  const auto found = object().find(name);
  if (found == object().end()) fail("the field \"" + name + "\" is missing");
  return {*found, *source_, path_.empty() ? name : path_ + "." + name};
}

std::vector<JsonNode> JsonNode::elements() const {
  if (!value_->is_array()) fail("expected an array, got " + shown(*value_));
  std::vector<JsonNode> nodes;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    nodes.emplace_back((*value_)[i], *source_, path_ + "[" + std::to_string(i) + "]");
  }
  return nodes;
}

const Json& JsonNode::object() const {
  if (!value_->is_object()) fail("expected an object, got " + shown(*value_));
  return *value_;
}

const std::string& JsonNode::string() const {
  if (!value_->is_string()) fail("expected a string, got " + shown(*value_));
  return value_->get_ref<const std::string&>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) fail("expected true or false, got " + shown(*value_));
  return value_->get<bool>();
}

bool JsonNode::boolean_or(const std::string& name, bool otherwise) const {
  if (!has(name) || (*this)[name].is_null()) return otherwise;
  return (*this)[name].boolean();
}

std::uint32_t JsonNode::id() const {
  if (!value_->is_number_unsigned() || value_->get<std::uint64_t>() > kMaxId) {
    fail("expected an id from 0 to " + std::to_string(kMaxId) + ", got " + shown(*value_));
  }
  return value_->get<std::uint32_t>();
}

void JsonNode::expect_fields(std::initializer_list<std::string_view> names) const {
  for (const auto& [name, value] : object().items()) {
    if (std::ranges::find(names, name) == names.end()) {
      JsonNode(value, *source_, path_.empty() ? name : path_ + "." + name)
          .fail("this field is not known here");
    }
  }
}

}  // namespace seer::tok
