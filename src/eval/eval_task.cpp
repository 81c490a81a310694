#include "seer/eval_task.h"

#include <stdexcept>

namespace seer {

EvalTask::~EvalTask() = default;

double EvalTask::score(const EvalPrompt& /*prompt*/, std::string_view /*prediction*/) const {
  throw std::logic_error(name() + ": a task without generation scores no text");
}

}  // namespace seer
