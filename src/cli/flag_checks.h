// Checks of flags' values before any conversion, with the value in the message.
#pragma once

#include <CLI/CLI.hpp>

#include <charconv>
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

}  // namespace seer::cli
