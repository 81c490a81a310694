#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// `seer eval ppl|niah|recall|ruler`.
void add_eval(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
