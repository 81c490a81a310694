#include "eval/task_checks.h"

#include <fmt/format.h>

#include <stdexcept>

namespace seer {

void expect_option_at_least(const char* name, std::int64_t value, std::int64_t least) {
  if (value >= least) return;
  throw std::invalid_argument(fmt::format("{} {}: expected {} or more", name, value, least));
}

void expect_text(const TokenStream* text) {
  if (text == nullptr || text->tokens.empty()) {
    throw std::invalid_argument("text: expected at least one document");
  }
}

void expect_sample(const std::string& task, std::int64_t index, std::int64_t samples) {
  if (index >= 0 && index < samples) return;
  throw std::invalid_argument(
      fmt::format("{}: sample {}: expected 0 to {}", task, index, samples - 1));
}

}  // namespace seer
