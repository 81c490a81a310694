// Split patterns are written for Oniguruma (Ruby's syntax); PCRE2 reads another dialect and another Unicode.
#pragma once

#include <string>
#include <string_view>

namespace seer::tok {

// The pattern in PCRE2's words (options UTF, UCP and MULTILINE), with the character classes of the `tokenizers`
// package: \s is White_Space, and letters, numbers, marks etc. know the characters that came after Unicode 14. Other
// properties (scripts, Alphabetic) and \P{...} inside brackets are of PCRE2's Unicode. Throws std::runtime_error for
// what means something else in the two dialects and is not translated.
std::string to_pcre2(std::string_view pattern);

}  // namespace seer::tok
