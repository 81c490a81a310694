#pragma once

#include <string_view>

#include "io/jinja/ast.h"

namespace seer::jinja {

// Throws SyntaxError, also for what Jinja has and Seer has not. `text` is what normalize_template() gave.
Body parse_template(std::string_view text);

}  // namespace seer::jinja
