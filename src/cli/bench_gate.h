#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds `gate` to the verb `bench`; see add_bench().
void add_bench_gate(CLI::App& bench, std::function<int()>& action);

}  // namespace seer::cli
