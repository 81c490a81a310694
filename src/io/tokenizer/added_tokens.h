// Tokens that are found in the text before the model splits it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tokenizer/function_ref.h"

namespace seer::tok {

struct AddedToken {
  std::uint32_t id = 0;
  std::string content;
  bool single_word = false;  // not where a word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;
  bool normalized = false;  // looked for in the normalized text, with normalized content
  bool special = false;
};

// Finds added tokens: at each place the longest one, from left to right.
class AddedTokenMatcher {
 public:
  // Of two tokens with one content the first counts.
  void add(const std::string& content, const AddedToken& token);

  // Gives the text between the tokens to `on_text` (never empty) and the tokens' ids to `on_token`, in order.
  void split(std::string_view text, FunctionRef<void(std::string_view)> on_text,
             FunctionRef<void(std::uint32_t)> on_token) const;

 private:
  struct Pattern {
    std::uint32_t id;
    bool single_word;
    bool lstrip;
    bool rstrip;
  };

  // The longest token at `pos`: its pattern, or null, and its end.
  const Pattern* longest_at(std::string_view text, std::size_t pos, std::size_t& end) const;
  std::size_t next_candidate(std::string_view text, std::size_t pos) const;

  std::vector<Pattern> patterns_;
  std::vector<std::int32_t> node_pattern_ = {-1};  // of each node of the trie; -1: none ends here
  std::unordered_map<std::uint64_t, std::uint32_t> children_;  // node << 8 | byte -> node
  std::vector<bool> first_bytes_ = std::vector<bool>(256, false);
  int only_first_byte_ = -1;  // -1: no token; -2: several bytes begin one
};

}  // namespace seer::tok
