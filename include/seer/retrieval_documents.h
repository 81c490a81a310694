// Documents that can be continued only by looking far back ("needle in a haystack"): text with sentences in it that state
// the numbers of words, and questions for some of these numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "seer/token_span.h"
#include "seer/tokenizer.h"
#include "seer/training_data.h"

namespace seer {

// What needles are about: two sets of invented words without a word in common, or words of the text itself, which are
// those that a model knows best.
enum class WordSet { kTraining, kEvaluation, kText };

// A pronounceable word of lower-case letters, such as "bakodin": a function of set (not kText) and draw. Some draws give
// equal words.
std::string invented_word(WordSet set, std::uint64_t draw);

struct RetrievalOptions {
  std::int64_t length = 8192;  // tokens of a document, exactly
  std::int64_t needles = 4;    // " One of the special magic numbers for WORD is: 1234567."
  // "\n\nWhat is the special magic number for WORD mentioned in the text? The special magic number for WORD is:" and the
  // answer " 1234567.": for this many of the needles.
  std::int64_t questions = 1;
  // Of the questions: those that stand in the text, each at a random place behind its needle. The others end the document.
  std::int64_t questions_inside = 0;
  WordSet words = WordSet::kEvaluation;
  std::uint64_t seed = 0;
  // Where the needle of the only question stands: behind this share of the text's tokens, rounded; 0 is right behind
  // begin-of-text, 1 right before the question. The text, the words and the other needles do not depend on it. None: at a
  // random place, as the others.
  std::optional<double> depth = std::nullopt;
};

struct RetrievalDocument {
  std::vector<TokenId> tokens;
  std::vector<TokenSpan> answers;  // in the order of the questions
};

// Number `index` for these options: always the same document. It is `bos`, tokens that follow each other somewhere in
// `text`, needles at random places among them (between any two tokens), and the questions. Needles, questions and answers
// are encoded each by itself; words and numbers of a document differ from each other. Throws std::invalid_argument for
// options out of range, a length that the needles and questions alone exceed, and a text that is too short.
RetrievalDocument retrieval_document(const TokenStream& text, const Tokenizer& tokenizer,
                                     TokenId bos, const RetrievalOptions& options,
                                     std::int64_t index);

}  // namespace seer
