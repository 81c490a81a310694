#include "io/tokenizer/character_class.h"

#include <algorithm>
#include <span>
#include <vector>

#include "io/tokenizer/unicode_tables.h"

namespace seer::tok {
namespace {

std::vector<CharacterClass> make_classes() {
  std::vector<CharacterClass> classes(0x110000, CharacterClass::kOther);
  const auto fill = [&](std::span<const unicode::CodePointRange> ranges, CharacterClass value) {
    for (const auto& range : ranges) {
      std::fill(classes.begin() + range.first, classes.begin() + range.last + 1, value);
    }
  };
  fill(unicode::letters(), CharacterClass::kLetter);
  fill(unicode::numbers(), CharacterClass::kNumber);
  fill(unicode::white_space(), CharacterClass::kSpace);
  classes['\r'] = CharacterClass::kLineEnd;
  classes['\n'] = CharacterClass::kLineEnd;
  return classes;
}

}  // namespace

const CharacterClass* character_classes() {
  static const std::vector<CharacterClass> classes = make_classes();
  return classes.data();
}

bool is_white_space(char32_t code_point) {
  const CharacterClass value = character_classes()[code_point];
  return value == CharacterClass::kSpace || value == CharacterClass::kLineEnd;
}

bool is_word_character(char32_t code_point) {
  const auto words = unicode::words();
  const auto after = std::upper_bound(
      words.begin(), words.end(), code_point,
      [](char32_t c, const unicode::CodePointRange& range) { return c < range.first; });
  return after != words.begin() && code_point <= std::prev(after)->last;
}

}  // namespace seer::tok
