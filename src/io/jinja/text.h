// What templates do to text, in the way of Python's str: UTF-8 in and out, counted in code points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace seer::jinja {

// The offset of the first byte that is no valid UTF-8, if any.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

std::size_t count_characters(std::string_view text);
std::vector<std::string_view> characters(std::string_view text);
// The code point of one character, of which `size` is set to the number of bytes. The text is valid UTF-8.
char32_t decode_character(std::string_view text, std::size_t& size);
// False for what is no Unicode scalar value.
bool append_character(std::string& out, char32_t code);

bool is_space(char32_t code);  // as str.isspace()

enum class Side { kLeft, kRight, kBoth };
// Without the characters of `set` at its ends; without whitespace where there is no set.
std::string_view strip(std::string_view text, Side side, std::optional<std::string_view> set);

// The first position of `part` from `from` on, npos where there is none. Linear in the text's size.
std::size_t find(std::string_view text, std::string_view part, std::size_t from = 0);
// With all occurrences of `from` replaced, or the first `count` where it is not negative.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count);
std::size_t count_occurrences(std::string_view text, std::string_view part);
// At whitespace where there is no separator. `limit` is the largest number of splits, negative for any.
std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator, std::int64_t limit);

// ASCII alone: nothing where the text has other characters.
std::optional<std::string> to_upper(std::string_view text);
std::optional<std::string> to_lower(std::string_view text);

// Python's repr of a text.
void append_quoted(std::string& out, std::string_view text);

}  // namespace seer::jinja
