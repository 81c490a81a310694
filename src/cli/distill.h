#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `distill`; as add_bench.
void add_distill(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
