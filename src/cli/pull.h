#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `pull`, as add_bench() does.
void add_pull(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
