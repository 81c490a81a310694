#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `info`; as add_bench.
void add_info(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
