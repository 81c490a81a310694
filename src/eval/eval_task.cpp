#include "seer/eval_task.h"

#include <stdexcept>

namespace seer {

EvalTask::~EvalTask() = default;

double EvalTask::score(const EvalPrompt&, std::string_view) const {
  throw std::logic_error(name() + ": this task generates no text, so it scores none");
}

}  // namespace seer
