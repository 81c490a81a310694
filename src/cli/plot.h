#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace seer::cli {

// `seer plot`: results as one HTML file.
void add_plot(CLI::App& app, std::function<int()>& action);

}  // namespace seer::cli
