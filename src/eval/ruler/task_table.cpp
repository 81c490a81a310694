#include "eval/ruler/task_table.h"

#include <stdexcept>

#include "base/quote.h"

namespace seer::ruler {

const std::vector<TaskKind>& task_kinds() {
  using Family = TaskKind::Family;
  using Haystack = NiahKind::Haystack;
  static const std::vector<TaskKind> kinds = {
      {"niah_single_1", Family::kNiah, "niah", RulerData::kNothing, {.haystack = Haystack::kNoise}},
      {"niah_single_2", Family::kNiah, "niah", RulerData::kText, {.haystack = Haystack::kText}},
      {"niah_single_3",
       Family::kNiah,
       "niah",
       RulerData::kText,
       {.haystack = Haystack::kText, .uuid_values = true}},
      {"niah_multikey_1",
       Family::kNiah,
       "niah",
       RulerData::kText,
       {.haystack = Haystack::kText, .many_keys = true}},
      {"niah_multikey_2",
       Family::kNiah,
       "niah",
       RulerData::kNothing,
       {.haystack = Haystack::kNeedles}},
      {"niah_multikey_3",
       Family::kNiah,
       "niah",
       RulerData::kNothing,
       {.haystack = Haystack::kNeedles, .uuid_keys = true, .uuid_values = true}},
      {"niah_multivalue",
       Family::kNiah,
       "niah",
       RulerData::kText,
       {.haystack = Haystack::kText, .many_values = true}},
      {"niah_multiquery",
       Family::kNiah,
       "niah",
       RulerData::kText,
       {.haystack = Haystack::kText, .many_queries = true}},
      {"vt", Family::kVt, "variable_tracking"},
      {"cwe", Family::kCwe, "common_words_extraction"},
      {"fwe", Family::kFwe, "freq_words_extraction"},
      {"qa_1", Family::kQa, "qa", RulerData::kSquad},
      {"qa_2", Family::kQa, "qa", RulerData::kHotpotqa}};
  return kinds;
}

const TaskKind& task_kind(std::string_view name) {
  std::string names;
  for (const TaskKind& kind : task_kinds()) {
    if (kind.name == name) return kind;
    names += (names.empty() ? "" : ", ") + std::string(kind.name);
  }
  throw std::invalid_argument("ruler task " + quote(name) + ": expected one of: " + names);
}

std::string task_name(const TaskKind& kind) {
  return std::string("ruler/") + kind.name;
}

std::string task_metric(const TaskKind& kind) {
  return kind.family == TaskKind::Family::kQa ? "string_match_part" : "string_match_all";
}

double task_score(const TaskKind& kind, const EvalPrompt& prompt, std::string_view prediction) {
  return kind.family == TaskKind::Family::kQa ? string_match_part(prediction, prompt.references)
                                              : string_match_all(prediction, prompt.references);
}

}  // namespace seer::ruler

namespace seer {

const std::vector<std::string>& ruler_task_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const ruler::TaskKind& kind : ruler::task_kinds()) result.emplace_back(kind.name);
    return result;
  }();
  return names;
}

RulerData ruler_task_data(std::string_view name) {
  return ruler::task_kind(name).data;
}

}  // namespace seer
