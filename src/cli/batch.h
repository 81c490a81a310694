#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `batch`. Parsing sets `action` to what the verb was asked to do; it returns the exit code.
void add_batch(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
