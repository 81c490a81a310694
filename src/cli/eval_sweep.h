#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds `sweep` to `seer eval`: tasks x policies x lengths, as a TOML file says.
void add_eval_sweep(CLI::App& eval_command, std::function<int()>& action);

}  // namespace seer::cli
