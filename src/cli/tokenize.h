#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `tokenize`. Parsing sets `action` to what the verb was asked to do; it returns the exit code.
void add_tokenize(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
