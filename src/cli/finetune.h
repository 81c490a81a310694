#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `finetune`; `action` becomes what it does.
void add_finetune(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
