#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// Adds the verb `doctor`, as add_bench() does.
void add_doctor(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
