#include "io/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "io/tokenizer/unicode_tables.h"
#include "io/tokenizer/utf8.h"

namespace seer::tok {
namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

// Takes part in no composition. U+11A7 stands one before the Hangul finals, and utf8proc 2.8 takes it for one.
bool stands_alone(char32_t code_point) {
  if (code_point == 0x11A7) return true;
  const auto ranges = unicode::unknown_to_nfc();
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), code_point,
      [](char32_t c, const unicode::CodePointRange& range) { return c < range.first; });
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

int combining_class(utf8proc_int32_t code_point) {
  return static_cast<int>(utf8proc_get_property(code_point)->combining_class);
}

void decompose(char32_t code_point, CodePoints& out) {
  utf8proc_int32_t parts[32];
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), parts, 32,
                                             UTF8PROC_DECOMPOSE, nullptr);
  if (count < 0 || count > 32) throw std::runtime_error("a character cannot be normalized to NFC");
  out.insert(out.end(), parts, parts + count);
}

// Puts each run of marks into the order of their classes. utf8proc's own ordering takes quadratic time.
void order(CodePoints& text) {
  for (auto begin = text.begin(); begin != text.end();) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end =
        std::find_if(begin, text.end(), [](utf8proc_int32_t c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining_class(a) < combining_class(b);
    });
    begin = end;
  }
}

// Composes `decomposed`, appends it to `out` and empties it.
void flush(CodePoints& decomposed, std::string& out) {
  if (decomposed.empty()) return;
  order(decomposed);
  const auto count =
      utf8proc_normalize_utf32(decomposed.data(), static_cast<utf8proc_ssize_t>(decomposed.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (count < 0) throw std::runtime_error("text cannot be normalized to NFC");
  for (utf8proc_ssize_t i = 0; i < count; ++i)
    append_utf8(static_cast<char32_t>(decomposed[i]), out);
  decomposed.clear();
}

}  // namespace

std::string nfc(std::string_view text) {
  // Below U+0300 every character is its own NFC, and none joins the one before it.
  const bool plain = std::none_of(text.begin(), text.end(),
                                  [](char c) { return static_cast<unsigned char>(c) >= 0xCC; });
  if (plain) return std::string(text);
  std::string out;
  out.reserve(text.size());
  CodePoints decomposed;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t start = pos;
    const char32_t code_point = next_code_point(text, pos);
    if (code_point < 0x300) {
      flush(decomposed, out);
      if (pos < text.size() && static_cast<unsigned char>(text[pos]) >= 0xCC) {
        decompose(code_point, decomposed);  // a mark may follow
      } else {
        out.append(text.substr(start, pos - start));
      }
    } else if (stands_alone(code_point)) {
      flush(decomposed, out);
      out.append(text.substr(start, pos - start));
    } else {
      decompose(code_point, decomposed);
    }
  }
  flush(decomposed, out);
  return out;
}

}  // namespace seer::tok
