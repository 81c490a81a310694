#include "io/tokenizer/added_tokens.h"

#include <algorithm>

#include "io/tokenizer/character_class.h"
#include "io/tokenizer/utf8.h"

namespace seer::tok {
namespace {

bool word_before(std::string_view text, std::size_t pos) {
  if (pos == 0) return false;
  std::size_t start = previous_character(text, pos);
  return is_word_character(next_code_point(text, start));
}

bool word_after(std::string_view text, std::size_t pos) {
  return pos < text.size() && is_word_character(next_code_point(text, pos));
}

// Where the white space that ends at `pos` begins, but not before `limit`.
std::size_t space_before(std::string_view text, std::size_t pos, std::size_t limit) {
  while (pos > limit) {
    const std::size_t start = previous_character(text, pos);
    std::size_t next = start;
    if (start < limit || !is_white_space(next_code_point(text, next))) break;
    pos = start;
  }
  return pos;
}

std::size_t space_after(std::string_view text, std::size_t pos) {
  for (std::size_t next = pos; next < text.size(); pos = next) {
    if (!is_white_space(next_code_point(text, next))) break;
  }
  return pos;
}

}  // namespace

void AddedTokenMatcher::add(const std::string& content, const AddedToken& token) {
  std::uint32_t node = 0;
  for (const char c : content) {
    const std::uint64_t edge = std::uint64_t{node} << 8 | static_cast<unsigned char>(c);
    const auto [child, is_new] =
        children_.try_emplace(edge, static_cast<std::uint32_t>(node_pattern_.size()));
    if (is_new) node_pattern_.push_back(-1);
    node = child->second;
  }
  if (node_pattern_[node] >= 0) return;
  node_pattern_[node] = static_cast<std::int32_t>(patterns_.size());
  patterns_.push_back({token.id, token.single_word, token.lstrip, token.rstrip});
  const auto first = static_cast<unsigned char>(content[0]);
  first_bytes_[first] = true;
  only_first_byte_ = only_first_byte_ == -1 || only_first_byte_ == first ? first : -2;
}

std::size_t AddedTokenMatcher::next_candidate(std::string_view text, std::size_t pos) const {
  if (only_first_byte_ >= 0)
    return std::min(text.find(static_cast<char>(only_first_byte_), pos), text.size());
  while (pos < text.size() && !first_bytes_[static_cast<unsigned char>(text[pos])]) ++pos;
  return pos;
}

const AddedTokenMatcher::Pattern* AddedTokenMatcher::longest_at(std::string_view text,
                                                                std::size_t pos,
                                                                std::size_t& end) const {
  const Pattern* longest = nullptr;
  std::uint32_t node = 0;
  for (std::size_t i = pos; i < text.size(); ++i) {
    const auto child =
        children_.find(std::uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (node_pattern_[node] >= 0) {
      longest = &patterns_[node_pattern_[node]];
      end = i + 1;
    }
  }
  return longest;
}

void AddedTokenMatcher::split(std::string_view text, FunctionRef<void(std::string_view)> on_text,
                              FunctionRef<void(std::uint32_t)> on_token) const {
  std::size_t done = 0;  // what is before it has been given out; rstrip may put it behind `pos`
  if (only_first_byte_ != -1) {
    for (std::size_t pos = 0; (pos = next_candidate(text, pos)) < text.size();) {
      std::size_t end = 0;
      const Pattern* found = longest_at(text, pos, end);
      if (found == nullptr) {
        ++pos;
        continue;
      }
      std::size_t start = pos;
      pos = end;
      if (found->single_word && (word_before(text, start) || word_after(text, end))) continue;
      if (found->lstrip) start = std::max(space_before(text, start, std::min(start, done)), done);
      if (found->rstrip) end = space_after(text, end);
      if (done < start) on_text(text.substr(done, start - done));
      on_token(found->id);
      done = end;
    }
  }
  if (done < text.size()) on_text(text.substr(done));
}

}  // namespace seer::tok
