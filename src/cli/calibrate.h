#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `calibrate`; as add_bench.
void add_calibrate(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
