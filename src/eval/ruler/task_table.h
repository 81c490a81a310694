// What the thirteen tasks are.
#pragma once

#include <string_view>
#include <vector>

#include "eval/ruler/draft.h"
#include "seer/ruler.h"

namespace seer::ruler {

struct TaskKind {
  enum class Family { kNiah, kVt, kCwe, kFwe, kQa };
  const char* name;
  Family family;
  const char* form;  // in PromptForms
  RulerData data = RulerData::kNothing;
  NiahKind niah = {};
};

const std::vector<TaskKind>& task_kinds();
// Throws std::invalid_argument that lists the names.
const TaskKind& task_kind(std::string_view name);

// The task's part of EvalTask: "ruler/<name>", "string_match_all" or "string_match_part".
std::string task_name(const TaskKind& kind);
std::string task_metric(const TaskKind& kind);
double task_score(const TaskKind& kind, const EvalPrompt& prompt, std::string_view prediction);

}  // namespace seer::ruler
