#include "base/config_fields.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "base/quote.h"

namespace seer {
namespace {

constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();

std::string value_text(const Json& value) {
  if (value.is_string()) return quote(value.get_ref<const std::string&>());
  if (value.is_object()) return "an object";
  if (value.is_array() && value.size() > 8) return "an array of " + std::to_string(value.size());
  for (const Json& element : value) {
    if (element.is_structured()) return "an array";
  }
  return printable(value.dump(), 100);
}

}  // namespace

ConfigFields::ConfigFields(const Json& object, std::string source, std::string prefix)
    : object_(object), source_(std::move(source)), prefix_(std::move(prefix)) {
  if (!object_.is_object()) {
    const std::string name = prefix_.empty() ? "" : prefix_.substr(0, prefix_.size() - 1) + ": ";
    throw std::runtime_error(source_ + ": " + name + "expected an object, got " +
                             object_.type_name());
  }
}

const Json* ConfigFields::find(std::string_view field) const {
  const auto found = object_.find(field);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigFields::fail(std::string_view field, const std::string& what) const {
  const Json* value = find(field);
  const std::string name = source_ + ": " + prefix_ + printable(field, 60);
  throw std::runtime_error(value == nullptr ? name + " is missing: " + what
                                            : name + " is " + value_text(*value) + ": " + what);
}

std::optional<std::int64_t> ConfigFields::integer(std::string_view field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() ||
                     value->get<std::uint64_t>() <=
                         static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  if (!fits) fail(field, "expected an integer");
  return value->get<std::int64_t>();
}

std::optional<std::int64_t> ConfigFields::size(std::string_view field) const {
  const auto value = integer(field);
  if (value && (*value < 1 || *value > kMaxSize))
    fail(field, "expected 1 to " + std::to_string(kMaxSize));
  return value;
}

std::int64_t ConfigFields::required_size(std::string_view field) const {
  const auto value = size(field);
  if (!value) fail(field, "expected an integer");
  return *value;
}

std::optional<double> ConfigFields::number(std::string_view field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->get<double>())) fail(field, "expected a number");
  return value->get<double>();
}

std::optional<double> ConfigFields::positive_number(std::string_view field) const {
  const auto value = number(field);
  if (value && !(*value > 0)) fail(field, "expected a number above 0");
  return value;
}

std::optional<bool> ConfigFields::boolean(std::string_view field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) fail(field, "expected true or false");
  return value->get<bool>();
}

std::optional<std::string> ConfigFields::text(std::string_view field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(field, "expected a string");
  return value->get<std::string>();
}

std::optional<ConfigFields> ConfigFields::object(std::string_view field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  return ConfigFields(*value, source_, prefix_ + std::string(field) + ".");
}

}  // namespace seer
