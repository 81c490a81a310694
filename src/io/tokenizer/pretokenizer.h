// Splits text into the pieces that the model encodes one by one.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/tokenizer/function_ref.h"
#include "io/tokenizer/regex.h"
#include "io/tokenizer/scanner.h"

namespace seer::tok {

using PieceSink = FunctionRef<void(std::string_view)>;

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Cuts the text at the matches of a pattern.
struct SplitStep {
  std::variant<KnownPattern, Regex, std::string>
      pattern;  // a std::string is looked for as it stands
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};

// The first half of the pre-tokenizer ByteLevel; bytes stay bytes here.
struct PrefixSpaceStep {};

class PreTokenizer {
 public:
  using Step = std::variant<SplitStep, PrefixSpaceStep>;

  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<Step> steps);

  // One a thread. Must not outlive the PreTokenizer.
  class Scratch {
   public:
    explicit Scratch(const PreTokenizer& pretokenizer);

   private:
    friend class PreTokenizer;
    std::vector<std::optional<Regex::Scratch>> regexes;  // of each step
  };

  // Gives the pieces to `sink`, none of them empty, in order. `text` is valid UTF-8.
  void split(std::string_view text, Scratch& scratch, PieceSink sink) const;

 private:
  void run(std::size_t step, std::string_view text, Scratch& scratch, PieceSink sink) const;

  std::vector<Step> steps_;
};

}  // namespace seer::tok
