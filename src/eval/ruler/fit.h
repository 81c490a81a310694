// A text of exactly so many tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/ruler/draft.h"
#include "seer/tokenizer.h"

namespace seer::ruler {

struct FittedText {
  std::string text;
  std::vector<TokenId> tokens;  // of the text alone
};

// The least number of tokens of before + context + after.
std::int64_t least_tokens(const Tokenizer& tokenizer, const std::string& before, Draft& draft,
                          const std::string& after);

// before + context + filler + after with exactly `target` tokens, verified by encoding the text as a whole. The context has
// as many whole units as fit (or up to 8 tokens fewer), the filler is a repeated word of one token each. Throws
// std::invalid_argument that begins with `what` where the draft's data runs out or the target is too short,
// std::runtime_error where no filler hits the target.
FittedText fit(const Tokenizer& tokenizer, const std::string& before, Draft& draft,
               const std::string& after, std::int64_t target, const std::string& what);

}  // namespace seer::ruler
