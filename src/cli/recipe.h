#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace seer::cli {

// Replaces "--recipe FILE" among a verb's arguments by the file's settings. A recipe is TOML; each key is a long flag of
// the verb without its dashes (learning_rate or learning-rate), flags on the command line override it, and tables only
// group. Throws std::runtime_error that names file, line, key and value.
std::vector<std::string> expand_recipe(std::vector<std::string> arguments, const CLI::App& verb);

}  // namespace seer::cli
