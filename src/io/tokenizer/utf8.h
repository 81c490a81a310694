// UTF-8: reading, checking, and the replacement of what is invalid.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace seer::tok {

// The code point at `pos` of valid UTF-8; moves `pos` behind it.
inline char32_t next_code_point(std::string_view text, std::size_t& pos) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(pos);
  if (lead < 0x80) return text[pos++];
  if (lead < 0xE0) {
    const char32_t c = (lead & 0x1Fu) << 6 | (byte(pos + 1) & 0x3Fu);
    pos += 2;
    return c;
  }
  if (lead < 0xF0) {
    const char32_t c =
        (lead & 0x0Fu) << 12 | (byte(pos + 1) & 0x3Fu) << 6 | (byte(pos + 2) & 0x3Fu);
    pos += 3;
    return c;
  }
  const char32_t c = (lead & 0x07u) << 18 | (byte(pos + 1) & 0x3Fu) << 12 |
                     (byte(pos + 2) & 0x3Fu) << 6 | (byte(pos + 3) & 0x3Fu);
  pos += 4;
  return c;
}

// The start of the character that ends before `pos` > 0 in valid UTF-8.
inline std::size_t previous_character(std::string_view text, std::size_t pos) {
  do {
    --pos;
  } while ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80);
  return pos;
}

void append_utf8(char32_t code_point, std::string& out);

// The offset of the first byte that belongs to no valid character (overlong forms and surrogates are not valid).
std::optional<std::size_t> first_invalid_byte(std::string_view text);

// Appends `bytes` to `out`, each maximal invalid part as one U+FFFD, as Unicode recommends. Unless `final`, a character
// that begins at the end and is not complete is left over; returns the number of bytes used.
std::size_t append_lossy(std::string_view bytes, bool final, std::string& out);

}  // namespace seer::tok
