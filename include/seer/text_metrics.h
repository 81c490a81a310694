// Scores of a generated text against a reference, 0 to 1, as LongBench defines them (Bai et al., 2024, arXiv:2308.14508).
// Texts are UTF-8; a byte that is none counts as U+FFFD. docs/evaluation.md says where a figure differs from the
// published program's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seer {

// F1 of the words that both have, with their counts: lower case, without ASCII punctuation and the words a, an, the.
// 0 where they share none.
double qa_f1(std::string_view prediction, std::string_view reference);
// The same of Chinese text: tokens are characters, and runs of ASCII letters and digits; without ASCII and Chinese
// punctuation. The published program takes the words of a segmentation program instead.
double qa_f1_zh(std::string_view prediction, std::string_view reference);

// ROUGE-L of summaries (Lin, 2004) as the Python package `rouge` 1.0.1 has it. Sentences end at '.', words at white
// space, letters' case counts. U is the set of different words in a longest common subsequence of any reference sentence
// with any predicted one; recall is |U| over the number of different words of the reference, precision over those of the
// prediction, and the result 2 P R / (P + R + 1e-8). 0 where either has no sentence. Memory: 4 bytes for each pair of
// words of the longest sentence of either.
double rouge_l(std::string_view prediction, std::string_view reference);
// The same with the tokens of qa_f1_zh() as words, punctuation included.
double rouge_l_zh(std::string_view prediction, std::string_view reference);

// 1/n if the reference is among n classes: those that the prediction contains, less those that are a part of the
// reference without being it. As published, the class behind one that is taken out is not looked at. 0 otherwise.
double classification_score(std::string_view prediction, std::string_view reference,
                            const std::vector<std::string>& classes);

// The share of the prediction's numbers (runs of decimal digits) that are the reference, to the letter; 0 without any.
double count_score(std::string_view prediction, std::string_view reference);
// The same for the first number that the reference names as "Paragraph 12", in Chinese as "段落12". Throws
// std::invalid_argument for a reference without.
double paragraph_score(std::string_view prediction, std::string_view reference);
double paragraph_score_zh(std::string_view prediction, std::string_view reference);

// Of the first line of the prediction, empty ones in front aside, that holds none of '`', '#' and "//": 2 M / T, rounded
// to hundredths (halves to even), where M is the length of the longest common subsequence of the line's and the
// reference's characters and T the number of both's. 0 where only one of them is empty, 1 where they are equal.
double code_similarity(std::string_view prediction, std::string_view reference);

}  // namespace seer
