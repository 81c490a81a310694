#pragma once

#include <memory>

#include "cli/eval_task_kinds.h"

namespace seer::cli {

std::unique_ptr<EvalTaskKind> make_longbench_kind();

}  // namespace seer::cli
