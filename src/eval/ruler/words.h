// The words of needles and lists, and the values of needles.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "eval/ruler/random.h"

namespace seer::ruler {

struct Words {
  std::vector<std::string> adjectives, nouns;  // keys of needles are "adjective-noun"
  std::vector<std::string> words;              // of the numbered list; empty: invented ones
};

// The built-in lists, or those that the file has instead: JSON {adjectives, nouns, words}, each a list of texts. Throws
// std::runtime_error naming file and key.
Words load_words(const std::filesystem::path& file);

// Draws what was not drawn before.
class KeyDraw {
 public:
  KeyDraw(const Words& words, bool uuids, Random random)
      : words_(words), uuids_(uuids), random_(random) {}
  // How many keys there are to draw: three quarters of all pairs, so that a draw ends soon.
  std::int64_t most() const;
  std::string next();

 private:
  const Words& words_;
  bool uuids_;
  Random random_;
  std::unordered_set<std::string> used_;
};

class ValueDraw {
 public:
  ValueDraw(bool uuids, Random random) : uuids_(uuids), random_(random) {}
  std::string next();  // seven digits, or a uuid

 private:
  bool uuids_;
  Random random_;
  std::unordered_set<std::string> used_;
};

class WordDraw {
 public:
  WordDraw(const Words& words, Random random);
  std::int64_t most() const;
  std::string next();

 private:
  const std::vector<std::string>& list_;
  Random random_;
  std::vector<std::uint32_t> order_;  // of list_; what was drawn stands in front
  std::size_t drawn_ = 0;
  std::unordered_set<std::string> used_;
};

// RFC 9562, version 4.
std::string uuid(Random& random);

}  // namespace seer::ruler
