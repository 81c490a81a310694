// Checks of flags' values before any conversion, with the value in the message.
#pragma once

#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

namespace seer::cli {

// Refuses what is no number of this type.
template <typename Number>
CLI::Validator number(const char* expected) {
  return CLI::Validator(
      [expected](std::string& text) {
        Number value{};
        const char* end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && rest == end) return std::string();
        return std::string("expected ") + expected + ", got '" + text + "'";
      },
      "", "number");
}

// A flag that takes an integer and shows its default.
inline void add_integer(CLI::App& command, const char* flag, std::int64_t& value,
                        const char* description) {
  command.add_option(flag, value, description)
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
}

}  // namespace seer::cli
