#include "io/tokenizer/pattern.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/quote.h"
#include "io/tokenizer/unicode_tables.h"

namespace seer::tok {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kLongNames = {
    {{"Letter", "L"},
     {"Number", "N"},
     {"Mark", "M"},
     {"Punctuation", "P"},
     {"Symbol", "S"},
     {"Separator", "Z"},
     {"Other", "C"},
     {"Punct", "P"}}};
constexpr std::string_view kCategories[] = {"L",  "M",  "N",  "P",  "S",  "Z",  "C",  "Lu", "Ll",
                                            "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No",
                                            "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                            "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn"};
constexpr std::string_view kProperties[] = {"Alphabetic",  "Uppercase", "Lowercase",
                                            "Ideographic", "Emoji",     "Any"};

std::string escaped(char32_t code_point) {
  char text[16];
  std::snprintf(text, sizeof text, "\\x{%X}", static_cast<unsigned>(code_point));
  return text;
}

std::string range(char32_t first, char32_t last) {
  return first == last ? escaped(first) : escaped(first) + "-" + escaped(last);
}

// Inside brackets: the characters of a class.
std::string white_space_items() {
  std::string items;
  for (const auto& r : unicode::white_space()) items += range(r.first, r.last);
  return items;
}

std::string not_white_space_items() {
  std::string items;
  char32_t next = 0;
  for (const auto& r : unicode::white_space()) {
    if (next < r.first) items += range(next, r.first - 1);
    next = r.last + 1;
  }
  return items + range(next, 0x10FFFF);
}

std::string category_items(std::string_view category) {
  std::string items = "\\p{" + std::string(category) + "}";
  for (const auto& r : unicode::younger_than_14()) {
    if (std::string_view(r.category).starts_with(category)) items += range(r.first, r.last);
  }
  return items;
}

// \w: Alphabetic, marks, decimal numbers and connectors. What is none of the categories stands in ranges.
std::string word_items() {
  std::string items;
  for (const char* category : {"L", "M", "Nd", "Nl", "Pc"}) items += category_items(category);
  return items +
         R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169})"
         R"(\x{1F170}-\x{1F189})";
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (pos_ < pattern_.size()) {
      switch (peek()) {
        case '\\': escape(); break;
        case '[': brackets(); break;
        case '(': open(); break;
        case ')': close(); break;
        case '{': interval(); break;
        case '*':
        case '+':
        case '?': out_ += take(); break;
        default: atom(std::string(1, take()));
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::runtime_error(what + " at byte " + std::to_string(pos_) +
                             " of the pattern is not supported");
  }

  char peek(std::size_t ahead = 0) const {
    return pos_ + ahead < pattern_.size() ? pattern_[pos_ + ahead] : '\0';
  }
  char take() { return pattern_[pos_++]; }

  void atom(const std::string& text) {
    // A byte that continues a character belongs to the atom before it.
    if ((static_cast<unsigned char>(text[0]) & 0xC0) != 0x80) atom_start_ = out_.size();
    out_ += text;
  }

  // Outside brackets: a class as an atom.
  void class_atom(const std::string& items, bool negated) {
    std::string text(negated ? "[^" : "[");
    text += items;
    text += ']';
    atom(text);
  }

  // \p{Name}, \P{Name}, \p{^Name}; `pos_` is behind the p. The name; `negated` may be changed.
  std::string property_name(bool& negated) {
    if (peek() != '{') refuse("a property without braces");
    const std::size_t end = pattern_.find('}', pos_);
    if (end == std::string_view::npos) refuse("a property without an end");
    std::string name(pattern_.substr(pos_ + 1, end - pos_ - 1));
    pos_ = end + 1;
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    for (const auto& [long_name, category] : kLongNames) {
      if (name == long_name) name = category;
    }
    return name;
  }

  std::string property_items(const std::string& name) const {
    if (std::ranges::find(kCategories, name) != std::end(kCategories)) return category_items(name);
    if (std::ranges::find(kProperties, name) != std::end(kProperties)) return "\\p{" + name + "}";
    const bool script =
        !name.empty() && std::isupper(static_cast<unsigned char>(name[0])) != 0 &&
        std::ranges::all_of(name, [](unsigned char c) { return std::isalpha(c) != 0 || c == '_'; });
    if (!script) refuse("the property " + quote(name));
    return "\\p{sc:" + name + "}";
  }

  // What is the same inside and outside of brackets; false: the escape is none of those.
  bool common_escape(char c, std::string& text) {
    switch (c) {
      case 'v': text = "\\x0B"; return true;
      case 'n':
      case 't':
      case 'r':
      case 'f':
      case 'a':
      case 'e': text = std::string("\\") + c; return true;
      case '0': text = "\\0"; return true;
      case 'x': {
        const bool braces = peek() == '{';
        std::size_t end = pos_ + (braces ? 1 : 0);
        const std::size_t first = end;
        while (end < pattern_.size() && end - first < (braces ? 8u : 2u) &&
               std::isxdigit(static_cast<unsigned char>(pattern_[end])) != 0) {
          ++end;
        }
        if (end == first || (braces && (end == pattern_.size() || pattern_[end] != '}')))
          refuse("this form of \\x");
        text = "\\x{" + std::string(pattern_.substr(first, end - first)) + "}";
        pos_ = end + (braces ? 1 : 0);
        return true;
      }
      case 'u': {
        const std::string_view digits = pattern_.substr(pos_, 4);
        if (digits.size() != 4 ||
            !std::ranges::all_of(digits, [](unsigned char d) { return std::isxdigit(d) != 0; })) {
          refuse("\\u without four hexadecimal digits");
        }
        pos_ += 4;
        text = "\\x{" + std::string(digits) + "}";
        return true;
      }
      default: break;
    }
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) return false;
    text = std::string("\\") + c;
    return true;
  }

  void escape() {
    ++pos_;
    if (pos_ == pattern_.size()) refuse("a backslash at the end");
    const char c = take();
    std::string text;
    bool negated = std::isupper(static_cast<unsigned char>(c)) != 0;
    switch (c) {
      case 's':
      case 'S': class_atom(white_space_items(), negated); return;
      case 'd':
      case 'D': class_atom(category_items("Nd"), negated); return;
      case 'h':
      case 'H': class_atom("0-9A-Fa-f", negated); return;
      case 'w':
      case 'W': class_atom(word_items(), negated); return;
      case 'p':
      case 'P': {
        const std::string name = property_name(negated);
        class_atom(property_items(name), negated);
        return;
      }
      case 'b':
      case 'B': {
        const std::string word = "[" + word_items() + "]";
        atom(negated ? "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))"
                     : "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))");
        return;
      }
      case 'A':
      case 'Z':
      case 'z':
      case 'G':
      case 'R':
      case 'k': atom(std::string("\\") + c); return;
      default: break;
    }
    if (c >= '1' && c <= '9') {
      atom(std::string("\\") + c);
    } else if (common_escape(c, text)) {
      atom(text);
    } else {
      --pos_;
      refuse(std::string("the escape \\") + c);
    }
  }

  void brackets() {
    atom_start_ = out_.size();
    out_ += take();
    if (peek() == '^') out_ += take();
    if (peek() == ']') refuse("a ']' that begins a class");
    for (;;) {
      if (pos_ >= pattern_.size()) refuse("a class without its ']'");
      const char c = take();
      if (c == ']') break;
      if (c == '[') refuse("a '[' inside a class");
      if (c == '&' && peek() == '&') refuse("an intersection of classes ('&&')");
      if (c == '\\') {
        class_escape();
      } else {
        out_ += c;
      }
    }
    out_ += ']';
  }

  void class_escape() {
    if (pos_ == pattern_.size()) refuse("a backslash at the end");
    const char c = take();
    std::string text;
    bool negated = false;
    switch (c) {
      case 's': out_ += white_space_items(); return;
      case 'S': out_ += not_white_space_items(); return;
      case 'd': out_ += category_items("Nd"); return;
      case 'h': out_ += "0-9A-Fa-f"; return;
      case 'w': out_ += word_items(); return;
      case 'p':
      case 'P': {
        negated = c == 'P';
        const std::string name = property_name(negated);
        std::string items = property_items(name);
        if (negated) {
          items.resize(items.find('}') + 1);
          items[1] = 'P';
        }
        out_ += items;
        return;
      }
      default: break;
    }
    if (!common_escape(c, text)) refuse(std::string("the escape \\") + c + " inside a class");
    out_ += text;
  }

  void open() {
    groups_.push_back(out_.size());
    out_ += take();
    if (peek() == '*') refuse("a verb");
    if (peek() != '?') return;
    out_ += take();
    const char kind = peek();
    if (kind == ':' || kind == '=' || kind == '!' || kind == '>' || kind == '<') return;
    // Options; Ruby's m is what others call s. x would give white space and '#' another meaning.
    while (peek() != ')' && peek() != ':') {
      const char option = peek();
      if (option != 'i' && option != 'm' && option != '-') refuse("this kind of group");
      out_ += option == 'm' ? 's' : option;
      ++pos_;
    }
  }

  void close() {
    out_ += take();
    if (groups_.empty()) refuse("a ')' without its '('");
    atom_start_ = groups_.back();
    groups_.pop_back();
  }

  // {n}, {n,}, {n,m}, {,m}; anything else is a plain brace.
  void interval() {
    std::size_t end = pos_ + 1;
    bool comma = false;
    std::size_t digits = 0;
    for (; end < pattern_.size() && (std::isdigit(static_cast<unsigned char>(pattern_[end])) != 0 ||
                                     (pattern_[end] == ',' && !comma));
         ++end) {
      if (pattern_[end] == ',')
        comma = true;
      else
        ++digits;
    }
    if (end >= pattern_.size() || pattern_[end] != '}' || digits == 0) {
      ++pos_;
      atom("\\{");
      return;
    }
    std::string text(pattern_.substr(pos_, end + 1 - pos_));
    if (text[1] == ',') text.insert(std::size_t{1}, std::size_t{1}, '0');
    pos_ = end + 1;
    out_ += text;
    if (peek() == '+') {  // Ruby repeats the interval; PCRE2 would take it for possessive
      out_.insert(atom_start_, "(?:");
      out_ += ')';
    } else if (peek() == '?' && !comma) {
      refuse("'?' behind an exact count");
    }
  }

  std::string_view pattern_;
  std::size_t pos_ = 0;
  std::string out_;
  std::size_t atom_start_ = 0;       // in out_: what a quantifier applies to
  std::vector<std::size_t> groups_;  // in out_: the open parentheses
};

}  // namespace

std::string to_pcre2(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace seer::tok
