// The words around a row.
#pragma once

#include <filesystem>
#include <string>

#include "eval/longbench/dataset_table.h"

namespace seer::longbench {

// The template of the dataset: the file's where there is one and it has it, otherwise the built-in one. Throws
// std::runtime_error naming file and key; all of the file is checked.
std::string prompt_template(const std::filesystem::path& file, const Dataset& dataset);

}  // namespace seer::longbench
