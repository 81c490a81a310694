// GPT-2's alphabet: every byte as a printable character, so that tokens can be written in JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace seer::tok {

// The character that stands for a byte, in UTF-8.
const std::string& byte_character(unsigned char byte);

// The bytes that a token stands for; none where it has a character outside the alphabet. `token` is valid UTF-8.
std::optional<std::string> token_bytes(std::string_view token);

}  // namespace seer::tok
