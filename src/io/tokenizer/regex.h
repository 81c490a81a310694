// Regular expressions of split patterns: PCRE2, compiled to machine code, with limits on time and memory.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace seer::tok {

struct TextSpan {
  std::size_t begin;
  std::size_t end;
};

class Regex {
 public:
  // Throws std::runtime_error where the pattern does not compile or is not supported.
  explicit Regex(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // What matching writes to; one a thread. Must not outlive the Regex.
  class Scratch {
   public:
    explicit Scratch(const Regex& regex);
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();

   private:
    friend class Regex;
    struct State;
    std::unique_ptr<State> state_;
  };

  // The first match at or behind `from` in valid UTF-8. Throws std::runtime_error when it takes too many steps.
  std::optional<TextSpan> find(std::string_view text, std::size_t from, Scratch& scratch) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace seer::tok
