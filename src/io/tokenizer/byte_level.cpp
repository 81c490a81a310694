#include "io/tokenizer/byte_level.h"

#include <array>

#include "io/tokenizer/utf8.h"

namespace seer::tok {
namespace {

constexpr char32_t kEnd = 256 + 68;  // 68 bytes are no printable characters of Latin-1

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, kEnd> bytes;  // -1: no byte

  Alphabet() {
    bytes.fill(-1);
    char32_t other = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
                             (byte >= 0xAE && byte <= 0xFF);
      const char32_t character = printable ? static_cast<char32_t>(byte) : other++;
      append_utf8(character, characters[byte]);
      bytes[character] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet value;
  return value;
}

}  // namespace

const std::string& byte_character(unsigned char byte) {
  return alphabet().characters[byte];
}

std::optional<std::string> token_bytes(std::string_view token) {
  const Alphabet& known = alphabet();
  std::string bytes;
  for (std::size_t pos = 0; pos < token.size();) {
    const char32_t character = next_code_point(token, pos);
    if (character >= kEnd || known.bytes[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(known.bytes[character]));
  }
  return bytes;
}

}  // namespace seer::tok
