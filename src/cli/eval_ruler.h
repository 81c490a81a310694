#pragma once

#include <memory>

#include "cli/eval_task_kinds.h"

namespace seer::cli {

// RULER's tasks; the verb writes their samples with --write.
std::unique_ptr<EvalTaskKind> make_ruler_kind();

}  // namespace seer::cli
