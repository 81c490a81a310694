#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `gates` with its own verbs info, import and export; as add_bench.
void add_gates(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
