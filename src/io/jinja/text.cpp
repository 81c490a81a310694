#include "io/jinja/text.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace seer::jinja {
namespace {

// The length of a character by its first byte; 0 where no character begins so.
std::size_t length_by_first_byte(unsigned char byte) {
  if (byte < 0x80) return 1;
  if (byte < 0xC2) return 0;
  if (byte < 0xE0) return 2;
  if (byte < 0xF0) return 3;
  return byte < 0xF5 ? 4 : 0;
}

bool is_scalar(char32_t code) {
  return code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
}

bool in_set(std::string_view character, std::optional<std::string_view> set) {
  if (!set) {
    std::size_t size = 0;
    return is_space(decode_character(character, size));
  }
  return set->find(character) != std::string_view::npos;  // UTF-8 has no false matches
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  static constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = length_by_first_byte(static_cast<unsigned char>(text[at]));
    if (length == 0 || length > text.size() - at) return at;
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return at;
    }
    std::size_t size = 0;
    const char32_t code = decode_character(text.substr(at), size);
    if (code < kSmallest[length] || !is_scalar(code)) return at;
    at += length;
  }
  return std::nullopt;
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> all;
  all.reserve(text.size());
  while (!text.empty()) {
    std::size_t size = 0;
    decode_character(text, size);
    all.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return all;
}

char32_t decode_character(std::string_view text, std::size_t& size) {
  const auto first = static_cast<unsigned char>(text[0]);
  size = std::max<std::size_t>(1, length_by_first_byte(first));
  size = std::min(size, text.size());
  static constexpr unsigned char kMask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  char32_t code = first & kMask[size];
  for (std::size_t i = 1; i < size; ++i) {
    code = (code << 6) | (static_cast<unsigned char>(text[i]) & 0x3F);
  }
  return code;
}

bool append_character(std::string& out, char32_t code) {
  if (!is_scalar(code)) return false;
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
  return true;
}

bool is_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view strip(std::string_view text, Side side, std::optional<std::string_view> set) {
  while (side != Side::kRight && !text.empty()) {
    std::size_t size = 0;
    decode_character(text, size);
    if (!in_set(text.substr(0, size), set)) break;
    text.remove_prefix(size);
  }
  while (side != Side::kLeft && !text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (text[start] & 0xC0) == 0x80) --start;
    if (!in_set(text.substr(start), set)) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::size_t find(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  // std::string_view::find is quadratic for hostile texts.
  const void* hit = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (hit == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(hit) - text.data());
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t count) {
  std::string out;
  if (from.empty()) {  // Python puts `to` around every character
    for (const std::string_view character : characters(text)) {
      if (count != 0) {
        out += to;
        --count;
      }
      out += character;
    }
    if (count != 0) out += to;
    return out;
  }
  std::size_t at = 0;
  while (count != 0) {
    const std::size_t hit = find(text, from, at);
    if (hit == std::string_view::npos) break;
    out.append(text.substr(at, hit - at)).append(to);
    at = hit + from.size();
    --count;
  }
  return out.append(text.substr(at));
}

std::size_t count_occurrences(std::string_view text, std::string_view part) {
  if (part.empty()) return count_characters(text) + 1;
  std::size_t count = 0;
  for (std::size_t at = find(text, part); at != std::string_view::npos;
       at = find(text, part, at + part.size())) {
    ++count;
  }
  return count;
}

std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator, std::int64_t limit) {
  std::vector<std::string_view> parts;
  if (separator) {
    std::size_t at = 0;
    while (limit != 0) {
      const std::size_t hit = find(text, *separator, at);
      if (hit == std::string_view::npos) break;
      parts.push_back(text.substr(at, hit - at));
      at = hit + separator->size();
      --limit;
    }
    parts.push_back(text.substr(at));
    return parts;
  }
  text = strip(text, Side::kLeft, std::nullopt);
  while (!text.empty()) {
    if (limit == 0) {
      parts.push_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t size = 0;
      if (is_space(decode_character(text.substr(end), size))) break;
      end += size;
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), Side::kLeft, std::nullopt);
    --limit;
  }
  return parts;
}

std::optional<std::string> to_upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if ((c & 0x80) != 0) return std::nullopt;
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::optional<std::string> to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if ((c & 0x80) != 0) return std::nullopt;
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  while (!text.empty()) {
    std::size_t size = 0;
    const char32_t code = decode_character(text, size);
    char escaped[16];
    if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code == '\\' || code == static_cast<unsigned char>(quote)) {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code < 0x20 || (code >= 0x7F && code <= 0xA0) || code == 0xAD) {
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(code));
      out += escaped;
    } else if (is_space(code) && code != ' ') {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(code));
      out += escaped;
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  out += quote;
}

}  // namespace seer::jinja
