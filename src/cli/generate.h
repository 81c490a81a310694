#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `generate`. Parsing sets `action` to what the verb was asked to do; it returns the exit code.
void add_generate(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
