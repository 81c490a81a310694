// What evaluation tasks refuse.
#pragma once

#include <cstdint>
#include <string>

#include "seer/training_data.h"

namespace seer {

// Throw std::invalid_argument that says what was expected.
void expect_option_at_least(const char* name, std::int64_t value, std::int64_t least);
void expect_text(const TokenStream* text);
// 0 <= index < samples.
void expect_sample(const std::string& task, std::int64_t index, std::int64_t samples);

}  // namespace seer
