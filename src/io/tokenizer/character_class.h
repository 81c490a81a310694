// The class of each character, as the split patterns see it.
#pragma once

#include <cstdint>

namespace seer::tok {

enum class CharacterClass : std::uint8_t {
  kOther,    // neither letter, number nor white space
  kLetter,   // \p{L}
  kNumber,   // \p{N}
  kSpace,    // white space (\s) but line ends
  kLineEnd,  // [\r\n]
};

// One entry for each code point, 0 to 0x10FFFF.
const CharacterClass* character_classes();

bool is_white_space(char32_t code_point);
bool is_word_character(char32_t code_point);  // \w as added tokens with single_word see it

}  // namespace seer::tok
