#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace seer {

// The fields of one JSON object of a configuration file, with messages that name file, field and value. A field that is
// null counts as absent, as in the configurations' own convention.
class ConfigFields {
 public:
  // `prefix` leads the names of the fields in messages, as in "rope_scaling.".
  ConfigFields(const Json& object, std::string source, std::string prefix = "");

  bool has(std::string_view field) const { return find(field) != nullptr; }

  // 1 to 2^31 - 1.
  std::optional<std::int64_t> size(std::string_view field) const;
  std::int64_t required_size(std::string_view field) const;
  // Any integer.
  std::optional<std::int64_t> integer(std::string_view field) const;
  // Finite.
  std::optional<double> number(std::string_view field) const;
  std::optional<double> positive_number(std::string_view field) const;
  std::optional<bool> boolean(std::string_view field) const;
  std::optional<std::string> text(std::string_view field) const;
  // The raw value, or nullptr.
  const Json* find(std::string_view field) const;
  std::optional<ConfigFields> object(std::string_view field) const;

  // "<source>: <field> is <value>: <what>". The value is left out where the field is absent.
  [[noreturn]] void fail(std::string_view field, const std::string& what) const;

  const std::string& source() const { return source_; }
  const Json& json() const { return object_; }

 private:
  const Json& object_;
  std::string source_;
  std::string prefix_;
};

}  // namespace seer
