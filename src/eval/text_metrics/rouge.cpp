// ROUGE-L as the Python package `rouge` 1.0.1 computes it, with its peculiarities: words count once, and the words of
// all longest common subsequences are one set.
#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "eval/text_metrics/code_points.h"
#include "seer/text_metrics.h"

namespace seer {
namespace {

using Sentence = std::vector<std::size_t>;  // numbers of words

class Vocabulary {
 public:
  std::size_t number(const std::u32string& word) {
    return numbers_.emplace(word, numbers_.size()).first->second;
  }
  std::size_t size() const { return numbers_.size(); }

 private:
  std::map<std::u32string, std::size_t> numbers_;
};

std::vector<Sentence> sentences(std::u32string_view text, Vocabulary& vocabulary) {
  std::vector<Sentence> result;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(U'.', begin), text.size());
    if (end > begin) {
      Sentence sentence;
      for (const std::u32string& word : text::words(text.substr(begin, end - begin))) {
        sentence.push_back(vocabulary.number(word));
      }
      // White space alone is a sentence of the empty word: what stands behind "Done. ".
      if (sentence.empty()) sentence.push_back(vocabulary.number({}));
      result.push_back(std::move(sentence));
    }
    begin = end + 1;
  }
  return result;
}

std::size_t different_words(const std::vector<Sentence>& sentences) {
  Sentence words;
  for (const Sentence& sentence : sentences) {
    words.insert(words.end(), sentence.begin(), sentence.end());
  }
  std::sort(words.begin(), words.end());
  return static_cast<std::size_t>(std::unique(words.begin(), words.end()) - words.begin());
}

// Marks the words of one longest common subsequence. Which one matters: of equally long ways back, the one that goes
// back in the prediction is taken.
void mark_common(const Sentence& reference, const Sentence& prediction, std::vector<bool>& marked) {
  const std::size_t columns = prediction.size() + 1;
  std::vector<std::uint32_t> lengths((reference.size() + 1) * columns);
  const auto at = [&](std::size_t i, std::size_t j) -> std::uint32_t& {
    return lengths[i * columns + j];
  };
  for (std::size_t i = 1; i <= reference.size(); ++i) {
    for (std::size_t j = 1; j <= prediction.size(); ++j) {
      at(i, j) = reference[i - 1] == prediction[j - 1] ? at(i - 1, j - 1) + 1
                                                       : std::max(at(i - 1, j), at(i, j - 1));
    }
  }
  std::size_t i = reference.size(), j = prediction.size();
  while (i > 0 && j > 0) {
    if (reference[i - 1] == prediction[j - 1]) {
      marked[reference[i - 1]] = true;
      --i;
      --j;
    } else if (at(i - 1, j) > at(i, j - 1)) {
      --i;
    } else {
      --j;
    }
  }
}

double rouge_l_of(std::u32string_view prediction, std::u32string_view reference) {
  Vocabulary vocabulary;
  const std::vector<Sentence> predicted = sentences(prediction, vocabulary);
  const std::vector<Sentence> expected = sentences(reference, vocabulary);
  if (predicted.empty() || expected.empty()) return 0;
  std::vector<bool> marked(vocabulary.size());
  for (const Sentence& sentence : expected) {
    for (const Sentence& other : predicted) mark_common(sentence, other, marked);
  }
  const auto common = static_cast<double>(std::count(marked.begin(), marked.end(), true));
  const double recall = common / static_cast<double>(different_words(expected));
  const double precision = common / static_cast<double>(different_words(predicted));
  return 2.0 * (precision * recall / (precision + recall + 1e-8));
}

std::u32string with_blanks(std::string_view text) {
  std::u32string result;
  for (const std::u32string& token : text::chinese_tokens(text::code_points(text))) {
    if (!result.empty()) result += U' ';
    result += token;
  }
  return result;
}

}  // namespace

double rouge_l(std::string_view prediction, std::string_view reference) {
  return rouge_l_of(text::code_points(prediction), text::code_points(reference));
}

double rouge_l_zh(std::string_view prediction, std::string_view reference) {
  return rouge_l_of(with_blanks(prediction), with_blanks(reference));
}

}  // namespace seer
