// Token ids in JSON files.
#pragma once

#include <filesystem>
#include <vector>

#include "seer/tokenizer.h"

namespace seer {

// Reads one of
//   [1, 2, 3]                             one sequence
//   [[1, 2], [3]]                         several
//   {"input_ids": [1, 2, 3], ...}         one sequence; other keys are not looked at
// Throws std::runtime_error that names the file and the place of what is no id.
std::vector<std::vector<TokenId>> read_token_file(const std::filesystem::path& file);

}  // namespace seer
