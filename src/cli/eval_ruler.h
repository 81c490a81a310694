#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// `seer eval ruler`, below `seer eval`.
void add_eval_ruler(CLI::App& eval_command, std::function<int()>& action);

}  // namespace seer::cli
