#include "io/jinja/lexer.h"

#include <array>
#include <charconv>
#include <optional>
#include <system_error>

#include "io/jinja/text.h"

namespace seer::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) read_text();
    add(TokenKind::kEnd, "", text_.size());
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what, std::size_t offset) const {
    throw SyntaxError(what, offset);
  }

  void add(TokenKind kind, std::string text, std::size_t offset) {
    tokens_.push_back(Token{kind, std::move(text), offset, 0, 0});
  }

  char peek(std::size_t ahead = 0) const {
    return ahead < text_.size() - at_ ? text_[at_ + ahead] : '\0';
  }

  // The next "{{", "{%" or "{#".
  std::size_t next_tag() const {
    for (std::size_t at = text_.find('{', at_); at != text_.npos; at = text_.find('{', at + 1)) {
      if (at + 1 < text_.size() &&
          (text_[at + 1] == '{' || text_[at + 1] == '%' || text_[at + 1] == '#')) {
        return at;
      }
    }
    return text_.npos;
  }

  // Text up to the next tag, and the tag.
  void read_text() {
    const std::size_t tag = next_tag();
    std::string_view text = text_.substr(at_, tag == text_.npos ? text_.npos : tag - at_);
    if (tag == text_.npos) {
      add(TokenKind::kText, std::string(text), at_);
      at_ = text_.size();
      return;
    }
    const char type = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    if (sign == '-') {
      text = strip(text, Side::kRight, std::nullopt);
    } else if (sign != '+' && type != '{') {
      text = without_indentation(text);
    }
    if (!text.empty()) add(TokenKind::kText, std::string(text), at_);
    at_ = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    if (type == '#') {
      read_comment(tag);
    } else {
      read_tag(tag, type == '{');
    }
    at_line_start_ = at_ > 0 && text_[at_ - 1] == '\n';
  }

  // lstrip_blocks: whitespace alone between the line's start and the tag goes.
  std::string_view without_indentation(std::string_view text) const {
    const std::size_t newline = text.rfind('\n');
    const std::size_t start = newline == text.npos ? 0 : newline + 1;
    if (start == 0 && !at_line_start_) return text;
    const bool blank = strip(text.substr(start), Side::kLeft, std::nullopt).empty();
    return blank ? text.substr(0, start) : text;
  }

  void read_comment(std::size_t open) {
    const std::size_t close = text_.find("#}", at_);
    if (close == text_.npos) fail("this comment is not closed: expected #}", open);
    // "{#-}" is no comment of one sign: the sign belongs to the opening.
    const char sign = close > at_ ? text_[close - 1] : '\0';
    at_ = close + 2;
    after_block(sign);
  }

  // trim_blocks: one newline after a block or a comment goes; with "-" all whitespace.
  void after_block(char sign) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && peek() == '\n') {
      ++at_;
    }
  }

  void skip_space() {
    while (at_ < text_.size()) {
      std::size_t size = 0;
      if (!is_space(decode_character(text_.substr(at_), size))) break;
      at_ += size;
    }
  }

  bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void read_tag(std::size_t open, bool output) {
    add(output ? TokenKind::kOutputOpen : TokenKind::kBlockOpen, output ? "{{" : "{%", open);
    const std::string_view end = output ? "}}" : "%}";
    std::vector<char> brackets;
    for (;;) {
      skip_space();
      if (at_ >= text_.size()) {
        fail(std::string("this tag is not closed: expected ") + std::string(end), open);
      }
      if (brackets.empty()) {
        char sign = peek();
        if ((sign == '-' || (sign == '+' && !output)) && text_.substr(at_ + 1).starts_with(end)) {
          close_tag(output, sign, 3);
          return;
        }
        if (starts(end)) {
          close_tag(output, '\0', 2);
          return;
        }
      }
      read_token(brackets);
    }
  }

  void close_tag(bool output, char sign, std::size_t size) {
    add(output ? TokenKind::kOutputClose : TokenKind::kBlockClose, output ? "}}" : "%}", at_);
    at_ += size;
    if (output) {
      if (sign == '-') skip_space();
    } else {
      after_block(sign);
    }
  }

  void read_token(std::vector<char>& brackets) {
    const char c = peek();
    if (is_name_start(c)) {
      std::size_t size = 1;
      while (is_name_start(peek(size)) || is_digit(peek(size))) ++size;
      add(TokenKind::kName, std::string(text_.substr(at_, size)), at_);
      at_ += size;
    } else if (is_digit(c)) {
      read_number();
    } else if (c == '\'' || c == '"') {
      read_string(c);
    } else {
      read_operator(brackets);
    }
  }

  void read_operator(std::vector<char>& brackets) {
    static constexpr std::array<std::string_view, 27> kOperators = {
        "==", "!=", "<=", ">=", "//", "**", "+", "-", "~", "*", "/", "%", "<", ">",
        "=",  ".",  ",",  ":",  "|",  ";",  "(", ")", "[", "]", "{", "}", ""};
    for (const std::string_view name : kOperators) {
      if (name.empty() || !starts(name)) continue;
      if (name == "(" || name == "[" || name == "{") {
        brackets.push_back(name == "(" ? ')' : (name == "[" ? ']' : '}'));
      } else if (name == ")" || name == "]" || name == "}") {
        if (brackets.empty()) fail("unexpected '" + std::string(name) + "'", at_);
        if (brackets.back() != name[0]) {
          fail("unexpected '" + std::string(name) + "': expected '" + brackets.back() + "'", at_);
        }
        brackets.pop_back();
      }
      add(TokenKind::kOperator, std::string(name), at_);
      at_ += name.size();
      return;
    }
    if (static_cast<unsigned char>(text_[at_]) < 0x20) fail("unexpected control character", at_);
    std::size_t size = 0;
    decode_character(text_.substr(at_), size);
    fail("unexpected character '" + std::string(text_.substr(at_, size)) + "'", at_);
  }

  void read_number() {
    const std::size_t start = at_;
    std::string digits;
    const auto take_digits = [&] {
      while (is_digit(peek()) || (peek() == '_' && is_digit(peek(1)))) {
        if (peek() != '_') digits += peek();
        ++at_;
      }
    };
    take_digits();
    bool is_float = false;
    if (peek() == '.' && is_digit(peek(1))) {
      is_float = true;
      digits += '.';
      ++at_;
      take_digits();
    }
    const bool sign = peek(1) == '+' || peek(1) == '-';
    if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign ? 2 : 1))) {
      is_float = true;
      digits += 'e';
      if (peek(1) == '-') digits += '-';
      at_ += sign ? 2 : 1;
      take_digits();
    }
    const std::string written(text_.substr(start, at_ - start));
    if (is_name_start(peek())) {
      fail("'" + written + peek() + "' is no number of a supported form (decimal alone)", start);
    }
    if (!is_float && digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != digits.npos) {
      fail("an integer has no leading 0: '" + written + "'", start);
    }
    Token token{is_float ? TokenKind::kFloat : TokenKind::kInt, written, start, 0, 0};
    const char* end = digits.data() + digits.size();
    const auto result = is_float ? std::from_chars(digits.data(), end, token.number)
                                 : std::from_chars(digits.data(), end, token.integer);
    if (result.ec != std::errc()) fail("the number " + written + " is out of range", start);
    tokens_.push_back(std::move(token));
  }

  void read_string(char quote) {
    const std::size_t start = at_;
    ++at_;
    std::string value;
    for (;;) {
      if (at_ >= text_.size()) fail("this string is not closed", start);
      const char c = text_[at_++];
      if (c == quote) break;
      if (c == '\\') {
        read_escape(value, start);
      } else {
        value += c;
      }
    }
    add(TokenKind::kString, std::move(value), start);
  }

  // After the backslash; Python's escapes.
  void read_escape(std::string& value, std::size_t string_start) {
    if (at_ >= text_.size()) fail("this string is not closed", string_start);
    const std::size_t start = at_ - 1;
    const char c = text_[at_++];
    static constexpr std::string_view kLetters = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    if (const std::size_t i = kLetters.find(c); i != kLetters.npos) {
      value += kMeanings[i];
    } else if (c == '\n') {
      return;  // the line goes on
    } else if (c == 'x' || c == 'u' || c == 'U') {
      read_code(value, start, c == 'x' ? 2 : (c == 'u' ? 4 : 8), 16);
    } else if (c >= '0' && c <= '7') {
      --at_;
      std::size_t digits = 1;
      while (digits < 3 && peek(digits) >= '0' && peek(digits) <= '7') ++digits;
      read_code(value, start, digits, 8);
    } else if (c == 'N') {
      fail("the escape \\N{...} is not supported", start);
    } else {
      value += '\\';
      value += c;
    }
  }

  void read_code(std::string& value, std::size_t start, std::size_t digits, int base) {
    std::uint32_t code = 0;
    const std::string_view written = text_.substr(at_, digits);
    const auto result =
        std::from_chars(written.data(), written.data() + written.size(), code, base);
    if (written.size() != digits || result.ec != std::errc() ||
        result.ptr != written.data() + digits || !append_character(value, code)) {
      fail("this escape is no character", start);
    }
    at_ += digits;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string normalize_template(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      out += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      out += text[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

std::vector<Token> tokenize(std::string_view text) {
  return Lexer(text).run();
}

}  // namespace seer::jinja
