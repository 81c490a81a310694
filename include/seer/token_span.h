// A part of a token sequence.
#pragma once

#include <cstdint>

namespace seer {

// Consecutive tokens of a sequence.
struct TokenSpan {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

}  // namespace seer
