// Documents that can be continued only by looking far back.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "seer/tokenizer.h"

namespace seer {

// `length` tokens that begin with `bos`: text from the front of `filler`, into which `questions` sentences "One of the
// special magic numbers for WORD is: 1234567." are put at random places, and behind each, again at a random place, the
// question for its number with the answer. Words are words of the filler, numbers have seven digits. Fewer questions
// where the length or the text's words do not suffice. `filler` has at least `length` tokens.
std::vector<TokenId> make_retrieval_document(std::span<const std::int32_t> filler,
                                             std::int64_t length, std::int64_t questions,
                                             TokenId bos, const Tokenizer& tokenizer,
                                             std::mt19937_64& random);

}  // namespace seer
