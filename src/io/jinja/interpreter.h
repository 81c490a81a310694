#pragma once

#include <ctime>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "io/jinja/ast.h"

namespace seer::jinja {

// An error with its place in the template.
struct RenderError : std::runtime_error {
  RenderError(const std::string& what, std::size_t at) : std::runtime_error(what), offset(at) {}
  std::size_t offset;
};

// Runs a template once. Throws RenderError.
std::string render(const Body& body, const std::vector<std::pair<std::string, Value>>& variables,
                   Budget& budget, const std::function<std::tm()>& local_time);

}  // namespace seer::jinja
