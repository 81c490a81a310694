#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds `prefill` and `distill`, which run whole models, to the verb `bench`; see add_bench().
void add_bench_models(CLI::App& bench, std::function<int()>& action);

}  // namespace seer::cli
