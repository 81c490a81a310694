// The rows of a published file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eval/longbench/dataset_table.h"

namespace seer::longbench {

struct Row {
  std::string input, context;
  std::vector<std::string> answers;  // at least one
  std::vector<std::string> classes;  // of a classification dataset, at least one; of others none
  std::int64_t length = 0;           // words, or characters of Chinese, as published
};

// JSONL: {input, context, answers, length, all_classes} a line, other fields are not looked at; blank lines are none.
// Throws std::runtime_error that names `source`, the line and the field.
std::vector<Row> parse_rows(std::string_view text, const std::string& source,
                            const Dataset& dataset);

}  // namespace seer::longbench
