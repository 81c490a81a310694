#include "io/tokenizer/scanner.h"

#include "io/tokenizer/character_class.h"
#include "io/tokenizer/utf8.h"

namespace seer::tok {
namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class Text {
 public:
  explicit Text(std::string_view text) : text_(text) {}

  bool at_end(std::size_t pos) const { return pos >= text_.size(); }
  char byte(std::size_t pos) const { return pos < text_.size() ? text_[pos] : '\0'; }

  // The class of the character at `pos`, and in `next` where it ends.
  CharacterClass read(std::size_t pos, std::size_t& next) const {
    next = pos;
    return classes_[next_code_point(text_, next)];
  }

  bool is(CharacterClass wanted, std::size_t pos) const {
    std::size_t next = 0;
    return !at_end(pos) && read(pos, next) == wanted;
  }

  std::size_t skip(CharacterClass wanted, std::size_t pos) const {
    std::size_t next = 0;
    while (pos < text_.size() && read(pos, next) == wanted) pos = next;
    return pos;
  }

 private:
  std::string_view text_;
  const CharacterClass* classes_ = character_classes();
};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// The length of 's 't 're 've 'm 'll 'd at an apostrophe, or 0.
std::size_t contraction(const Text& text, std::size_t pos, bool any_case) {
  const auto letter = [&](std::size_t at) {
    return any_case ? lower(text.byte(at)) : text.byte(at);
  };
  const char first = letter(pos + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = letter(pos + 2);
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  // The long s, U+017F, is a small form of S.
  if (any_case && first == '\xC5' && text.byte(pos + 2) == '\xBF') return 3;
  return 0;
}

// \s+(?!\S)|\s+ from white space at `pos` on; where `line_ends` holds, \s*[\r\n]+ comes before it.
std::size_t end_of_space(const Text& text, std::size_t pos, bool line_ends) {
  std::size_t end = pos;
  std::size_t last = pos;            // the last character's start
  std::size_t after_line_end = pos;  // behind the last line end
  while (!text.at_end(end)) {
    std::size_t next = 0;
    const CharacterClass value = text.read(end, next);
    if (value != CharacterClass::kSpace && value != CharacterClass::kLineEnd) break;
    last = end;
    end = next;
    if (value == CharacterClass::kLineEnd) after_line_end = end;
  }
  if (line_ends && after_line_end > pos) return after_line_end;
  if (text.at_end(end) || last == pos) return end;
  return last;
}

std::size_t end_of_gpt2(const Text& text, std::size_t pos) {
  if (text.byte(pos) == '\'') {
    if (const std::size_t length = contraction(text, pos, false)) return pos + length;
  }
  std::size_t next = 0;
  CharacterClass value = text.read(pos, next);
  if (text.byte(pos) == ' ' && !text.at_end(next)) {
    std::size_t after = 0;
    const CharacterClass following = text.read(next, after);
    if (following != CharacterClass::kSpace && following != CharacterClass::kLineEnd) {
      value = following;
      next = after;
    }
  }
  if (value == CharacterClass::kSpace || value == CharacterClass::kLineEnd)
    return end_of_space(text, pos, false);
  return text.skip(value, next);
}

std::size_t end_of_llama3(const Text& text, std::size_t pos, int longest_number) {
  if (text.byte(pos) == '\'') {
    if (const std::size_t length = contraction(text, pos, true)) return pos + length;
  }
  std::size_t next = 0;
  const CharacterClass value = text.read(pos, next);
  switch (value) {
    case CharacterClass::kLetter: return text.skip(CharacterClass::kLetter, next);
    case CharacterClass::kNumber:
      for (int i = 1; i < longest_number && text.is(CharacterClass::kNumber, next); ++i)
        text.read(next, next);
      return next;
    case CharacterClass::kLineEnd: return end_of_space(text, pos, true);
    case CharacterClass::kOther:
    case CharacterClass::kSpace: break;
  }
  if (text.is(CharacterClass::kLetter, next)) return text.skip(CharacterClass::kLetter, next);
  if (value == CharacterClass::kSpace &&
      !(text.byte(pos) == ' ' && text.is(CharacterClass::kOther, next))) {
    return end_of_space(text, pos, true);
  }
  return text.skip(CharacterClass::kLineEnd, text.skip(CharacterClass::kOther, next));
}

}  // namespace

std::string_view gpt2_pattern() {
  return kGpt2;
}

std::optional<KnownPattern> known_pattern(std::string_view pattern) {
  if (pattern == kGpt2) return KnownPattern::kGpt2;
  if (pattern == kLlama3) return KnownPattern::kLlama3;
  if (pattern == kQwen2) return KnownPattern::kQwen2;
  return std::nullopt;
}

std::size_t end_of_piece(KnownPattern pattern, std::string_view text, std::size_t pos) {
  switch (pattern) {
    case KnownPattern::kGpt2: return end_of_gpt2(Text(text), pos);
    case KnownPattern::kLlama3: return end_of_llama3(Text(text), pos, 3);
    case KnownPattern::kQwen2: return end_of_llama3(Text(text), pos, 1);
  }
  return text.size();
}

}  // namespace seer::tok
