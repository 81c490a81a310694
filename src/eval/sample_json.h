#pragma once

#include <string>
#include <string_view>

#include "seer/eval.h"

namespace seer {

// Throws std::runtime_error that begins with `source`.
EvalTask parse_eval_task(std::string_view name, const std::string& source);

}  // namespace seer
