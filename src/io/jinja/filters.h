// `x | trim` and its kin.
#pragma once

#include <string_view>

#include "io/jinja/methods.h"
#include "io/jinja/value.h"

namespace seer::jinja {

bool is_filter(std::string_view name);
Value run_filter(const std::string& name, const Value& value, Given given,
                 Environment& environment);

}  // namespace seer::jinja
