// Scores of texts: by hand, and against the Python packages whose results tests/golden/text_metrics.json holds.
#include "seer/text_metrics.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "base/json.h"
#include "eval/text_metrics/code_points.h"

namespace seer {
namespace {

// 2 P R / (P + R + 1e-8).
double rouge_f(double precision, double recall) {
  return 2 * (precision * recall / (precision + recall + 1e-8));
}

TEST(QaF1, ByHand) {
  EXPECT_EQ(qa_f1("The Mill.", "a mill"), 1);
  // Shared: red, red. P = 2/3, R = 2/2.
  EXPECT_DOUBLE_EQ(qa_f1("red red boat", "Red, red!"), 2 * (2.0 / 3) / (2.0 / 3 + 1));
  // A word counts as often as both have it: P = 1/1, R = 1/3.
  EXPECT_DOUBLE_EQ(qa_f1("red", "red red red"), 0.5);
  EXPECT_EQ(qa_f1("at 5 a.m.", "at 5 am"), 1);  // punctuation goes before words are told apart
  EXPECT_EQ(qa_f1("the-end", "theend"), 1);
  EXPECT_EQ(qa_f1("l’an", "l’"), 1);  // the apostrophe is none of ASCII's: "an" is a word
  EXPECT_EQ(qa_f1("ÉCOLE\u00a0x", "x école"), 1);
  EXPECT_EQ(qa_f1("Σ", "σ"), 1);
  EXPECT_EQ(qa_f1("İ", "i\u0307"), 1);
  EXPECT_EQ(qa_f1("the a an", "the"), 0);  // nothing is left
  EXPECT_EQ(qa_f1("", "x"), 0);
  EXPECT_EQ(qa_f1("x", ""), 0);
  EXPECT_EQ(qa_f1("\xff x", "x"), 2.0 / 3);  // a byte that is no UTF-8 is a word like others
}

TEST(QaF1, OfChinese) {
  // Tokens: 河 流 gpt 4 against 河 gpt4: P = 1/4, R = 1/2.
  EXPECT_DOUBLE_EQ(qa_f1_zh("河流，GPT-4", "河gpt4"), 2 * 0.25 * 0.5 / 0.75);
  EXPECT_EQ(qa_f1_zh("“河流”》。", "河 流"), 1);
  // Punctuation of the published list alone goes: the opening mark of a title stays. P = 2/3, R = 1.
  EXPECT_DOUBLE_EQ(qa_f1_zh("《河流》", "河流"), 2 * (2.0 / 3) / (2.0 / 3 + 1));
  EXPECT_EQ(qa_f1_zh("。！", "。！"), 0);
  EXPECT_EQ(qa_f1_zh("", "河"), 0);
}

TEST(Rouge, ByHand) {
  EXPECT_DOUBLE_EQ(rouge_l("one two three", "one two three"), rouge_f(1, 1));
  // Longest common subsequence: one three.
  EXPECT_DOUBLE_EQ(rouge_l("one three six", "one two three four"), rouge_f(2.0 / 3, 2.0 / 4));
  // The union over sentences: with "a b" and with "a c e" of "a b c d e".
  EXPECT_DOUBLE_EQ(rouge_l("a b x. a c y e", "a b c d e"), rouge_f(4.0 / 6, 4.0 / 5));
  // A repeated word counts once, in the text and among what is common.
  EXPECT_DOUBLE_EQ(rouge_l("a a a", "a a b"), rouge_f(1, 0.5));
  // White space behind the last '.' is a sentence of the empty word, which both have.
  EXPECT_DOUBLE_EQ(rouge_l("a. ", "b. "), rouge_f(0.5, 0.5));
  EXPECT_EQ(rouge_l("a.", "b. "), 0);
  EXPECT_EQ(rouge_l("A", "a"), 0);
  EXPECT_EQ(rouge_l("", "a"), 0);
  EXPECT_EQ(rouge_l("...", "a"), 0);
  EXPECT_EQ(rouge_l("a", ""), 0);
  // Both subsequences are one word long, and one of them counts.
  EXPECT_DOUBLE_EQ(rouge_l("b a", "a b"), rouge_f(0.5, 0.5));
}

TEST(Rouge, OfChinese) {
  // 河 of 河 流 and 河 水.
  EXPECT_DOUBLE_EQ(rouge_l_zh("河流", "河水"), rouge_f(0.5, 0.5));
  EXPECT_DOUBLE_EQ(rouge_l_zh("GPT4 河。", "GPT4\n河"), rouge_f(2.0 / 3, 1));
  EXPECT_EQ(rouge_l_zh(" \n", "河"), 0);
}

TEST(ClassificationScore, ByHand) {
  EXPECT_EQ(classification_score("It is a city", "city", {"city", "state"}), 1);
  EXPECT_EQ(classification_score("city or state", "city", {"city", "state"}), 0.5);
  EXPECT_EQ(classification_score("town", "city", {"city", "state"}), 0);
  // A part of the right class does not count.
  EXPECT_EQ(classification_score("capital city", "capital city", {"city", "capital city"}), 1);
  // "ab" is taken out and "b" behind it is overlooked, as published; the other way round both go.
  EXPECT_EQ(classification_score("abc", "abc", {"ab", "b", "abc"}), 0.5);
  EXPECT_EQ(classification_score("abc", "abc", {"ab", "abc", "b"}), 1);
  EXPECT_EQ(classification_score("city", "city", {}), 0);
  EXPECT_EQ(classification_score("", "city", {"city"}), 0);
}

TEST(CountScore, ByHand) {
  EXPECT_EQ(count_score("There are 7.", "7"), 1);
  EXPECT_EQ(count_score("7 or 8, not 17", "7"), 1.0 / 3);
  EXPECT_EQ(count_score("seven", "7"), 0);
  EXPECT_EQ(count_score("07", "7"), 0);
  EXPECT_EQ(count_score("7 ٣", "7"), 0.5);  // decimal digits of any script are a number
}

TEST(ParagraphScore, ByHand) {
  EXPECT_EQ(paragraph_score("Paragraph 12", "Paragraph 12"), 1);
  EXPECT_EQ(paragraph_score("Paragraph 12 or 1", "Paragraph 12"), 0.5);
  EXPECT_EQ(paragraph_score("none", "Paragraph 12"), 0);
  EXPECT_EQ(paragraph_score("3", "Paragraph x, Paragraph 3, Paragraph 4"), 1);
  EXPECT_EQ(paragraph_score_zh("段落3", "段落3"), 1);
  EXPECT_EQ(paragraph_score_zh("13", "段落3"), 0);
  for (const auto score : {paragraph_score, paragraph_score_zh}) {
    EXPECT_THROW(score("3", "3"), std::invalid_argument);
    EXPECT_THROW(score("3", "Paragraph  3"), std::invalid_argument);
    EXPECT_THROW(score("3", "Paragraph 段落"), std::invalid_argument);
    EXPECT_THROW(score("3", ""), std::invalid_argument);
  }
}

TEST(CodeSimilarity, ByHand) {
  EXPECT_EQ(code_similarity("x = 1\ny = 2", "x = 1"), 1);
  EXPECT_EQ(code_similarity("\n\nx = 1", "x = 1"), 1);
  EXPECT_EQ(code_similarity("# note\n// note\n```\nx = 1", "x = 1"), 1);
  EXPECT_EQ(code_similarity("y  # x\nx = 1", "x = 1"), 1);  // a mark anywhere
  // Common: "abc" of 4 + 4.
  EXPECT_EQ(code_similarity("abcd", "abce"), 0.75);
  // 2 * 1 / 16 = 12.5 hundredths, and 2 * 3 / 16 = 37.5: halves to even.
  EXPECT_EQ(code_similarity("abbbbbbb", "acccccce"), 0.12);
  EXPECT_EQ(code_similarity("abcddddd", "abceeeee"), 0.38);
  EXPECT_EQ(code_similarity("é", "è"), 0);                    // characters, not bytes
  EXPECT_EQ(code_similarity("# note\n\nx = 1", "x = 1"), 0);  // the empty line is the first
  EXPECT_EQ(code_similarity("", ""), 1);
  EXPECT_EQ(code_similarity("# note", "x"), 0);
  EXPECT_EQ(code_similarity("x", ""), 0);
}

TEST(TextMetrics, AsPythonPackagesHaveThem) {
  // The variable names a file of other random texts (text_metrics_packages_test.py).
  const char* const other = std::getenv("SEER_TEXT_METRICS_GOLDEN");
  const Json golden = read_json_file(other != nullptr ? std::filesystem::path(other)
                                                      : std::filesystem::path(SEER_SOURCE_DIR) /
                                                            "tests/golden/text_metrics.json");
  using Score = double (*)(std::string_view, std::string_view);
  const std::map<std::string, Score> scores = {{"qa_f1", qa_f1},
                                               {"qa_f1_zh", qa_f1_zh},
                                               {"rouge_l", rouge_l},
                                               {"rouge_l_zh", rouge_l_zh},
                                               {"count", count_score},
                                               {"paragraph", paragraph_score},
                                               {"paragraph_zh", paragraph_score_zh},
                                               {"code_similarity", code_similarity}};
  std::map<std::string, int> cases;
  for (const Json& row : golden.at("cases")) {
    const auto metric = row.at("metric").get<std::string>();
    const auto prediction = row.at("prediction").get<std::string>();
    const auto reference = row.at("reference").get<std::string>();
    const double score =
        metric == "classification"
            ? classification_score(prediction, reference,
                                   row.at("classes").get<std::vector<std::string>>())
            : scores.at(metric)(prediction, reference);
    EXPECT_DOUBLE_EQ(score, row.at("score").get<double>()) << row;
    ++cases[metric];
  }
  EXPECT_EQ(cases.size(), 9U);
  for (const auto& [metric, count] : cases) EXPECT_GE(count, 100) << metric;
}

}  // namespace
}  // namespace seer
