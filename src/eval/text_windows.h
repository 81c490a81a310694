// Windows of a stream of text, evenly spread.
#pragma once

#include <cstdint>
#include <vector>

#include "seer/training_data.h"

namespace seer {

// Throws std::invalid_argument where the text has fewer than `length` + 1 tokens.
void check_window_length(const TokenStream& text, std::int64_t length);

// Window `index` of `count`: `bos` and the length - 1 tokens from index * floor((N - length - 1) / count) on.
std::vector<TokenId> text_window(const TokenStream& text, TokenId bos, std::int64_t length,
                                 std::int64_t count, std::int64_t index);

}  // namespace seer
