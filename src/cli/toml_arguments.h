#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

namespace seer::cli {

// A TOML file. Throws std::runtime_error that names file and line.
toml::table read_toml(const std::string& file);

// The error of a place in a TOML file.
[[noreturn]] void fail_at(const std::string& file, const toml::source_region& place,
                          const std::string& what);

// The keys of a table as arguments of `command`: each is a long flag without its dashes (learning_rate or learning-rate).
// Tables inside only group. Keys in `reserved` and flags in `given`, which stand on the command line already, are left out.
// Throws std::runtime_error that names file, line, key and value.
std::vector<std::string> toml_arguments(const toml::table& table, const std::string& file,
                                        const CLI::App& command,
                                        const std::vector<std::string>& reserved = {},
                                        const std::vector<std::string>& given = {});

}  // namespace seer::cli
