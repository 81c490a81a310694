// `x is defined` and its kin.
#pragma once

#include <string_view>
#include <vector>

#include "io/jinja/value.h"

namespace seer::jinja {

bool is_test(std::string_view name);
// Whether it may take an argument without parentheses: `x is equalto 3`.
bool test_takes_argument(std::string_view name);
bool run_test(std::string_view name, const Value& value, const std::vector<Value>& arguments,
              Budget& budget);

}  // namespace seer::jinja
