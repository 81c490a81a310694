#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds `attention` to the verb `bench`; see add_bench().
void add_bench_attention(CLI::App& bench, std::function<int()>& action);

}  // namespace seer::cli
