// Text as code points, and what Python takes them for: the published metrics are written in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seer::text {

// A byte that belongs to no valid character becomes U+FFFD.
std::u32string code_points(std::string_view utf8);

bool is_space(char32_t c);  // str.isspace()
bool is_word(char32_t c);   // \w: letters, numbers and '_'
bool is_digit(char32_t c);  // \d: decimal digits of any script
bool is_ascii_punctuation(char32_t c);
bool is_ascii_letter_or_digit(char32_t c);

// Character by character. str.lower() differs for capital sigma at a word's end.
std::u32string lower(std::u32string_view text);

// What stands between white space.
std::vector<std::u32string> words(std::u32string_view text);

// Runs of ASCII letters and digits, and each other character by itself; white space only separates.
std::vector<std::u32string> chinese_tokens(std::u32string_view text);

}  // namespace seer::text
