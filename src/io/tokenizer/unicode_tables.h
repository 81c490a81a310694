// What the `tokenizers` package takes each Unicode character for. The tables are written by
// scripts/generate/unicode_tables.py.
#pragma once

#include <cstdint>
#include <span>

namespace seer::unicode {

struct CodePointRange {
  char32_t first;
  char32_t last;
};

struct CategoryRange {
  char32_t first;
  char32_t last;
  const char* category;  // two letters, "Lo"
};

std::span<const CodePointRange> letters();         // \p{L}
std::span<const CodePointRange> numbers();         // \p{N}
std::span<const CodePointRange> white_space();     // \s
std::span<const CodePointRange> words();           // \w as added tokens with single_word see it
std::span<const CodePointRange> unknown_to_nfc();  // what NFC must leave alone
std::span<const CategoryRange> younger_than_14();  // assigned after Unicode 14

}  // namespace seer::unicode
