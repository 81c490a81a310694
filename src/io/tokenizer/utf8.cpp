#include "io/tokenizer/utf8.h"

#include <cstdint>
#include <cstring>

namespace seer::tok {
namespace {

enum class Kind { kValid, kInvalid, kIncomplete };

struct Character {
  Kind kind;
  std::size_t length;  // of the character, or of the maximal part of one
};

// What begins at `pos`: Unicode's table 3-7, "Well-Formed UTF-8 Byte Sequences".
Character character_at(std::string_view text, std::size_t pos) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(pos);
  if (lead < 0x80) return {Kind::kValid, 1};
  std::size_t length = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Kind::kInvalid, 1};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (pos + i >= text.size()) return {Kind::kIncomplete, i};
    if (byte(pos + i) < low || byte(pos + i) > high) return {Kind::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Kind::kValid, length};
}

// The end of the ASCII characters from `pos` on, or a place among them with less than 8 to go.
std::size_t skip_ascii(std::string_view text, std::size_t pos) {
  while (pos + 8 <= text.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + pos, 8);
    if ((word & 0x8080808080808080u) != 0) break;
    pos += 8;
  }
  return pos;
}

}  // namespace

void append_utf8(char32_t c, std::string& out) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::optional<std::size_t> first_invalid_byte(std::string_view text) {
  std::size_t pos = 0;
  while ((pos = skip_ascii(text, pos)) < text.size()) {
    const Character character = character_at(text, pos);
    if (character.kind != Kind::kValid) return pos;
    pos += character.length;
  }
  return std::nullopt;
}

std::size_t append_lossy(std::string_view bytes, bool final, std::string& out) {
  std::size_t pos = 0;
  while (pos < bytes.size()) {
    const Character character = character_at(bytes, pos);
    if (character.kind == Kind::kValid) {
      out.append(bytes.substr(pos, character.length));
    } else if (character.kind == Kind::kIncomplete && !final) {
      return pos;
    } else {
      out += "\xEF\xBF\xBD";
    }
    pos += character.length;
  }
  return pos;
}

}  // namespace seer::tok
