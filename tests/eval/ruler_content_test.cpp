// What stands in RULER's samples, read back from their text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "ruler_samples.h"

namespace seer {
namespace {

using namespace test;

struct Needle {
  std::string type, key, value;
  std::size_t place = 0;
};

std::vector<Needle> needles_in(const std::string& text) {
  static const std::regex pattern(
      R"(One of the special magic (numbers|uuids) for ([a-z0-9-]+) is: ([a-f0-9-]+)\.)");
  std::vector<Needle> needles;
  for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i) {
    needles.push_back({(*i)[1], (*i)[2], (*i)[3], static_cast<std::size_t>(i->position())});
  }
  return needles;
}

TEST(RulerContent, NeedlesOfEachTask) {
  struct Row {
    const char* task;
    std::size_t needles, references;  // 0: a haystack of them
    bool uuid_keys, uuid_values;
  };
  for (const Row& row :
       {Row{"niah_single_1", 1, 1, false, false}, Row{"niah_single_2", 1, 1, false, false},
        Row{"niah_single_3", 1, 1, false, true}, Row{"niah_multikey_1", 4, 1, false, false},
        Row{"niah_multikey_2", 0, 1, false, false}, Row{"niah_multikey_3", 0, 1, true, true},
        Row{"niah_multivalue", 4, 4, false, false}, Row{"niah_multiquery", 4, 4, false, false}}) {
    SCOPED_TRACE(row.task);
    const auto task = bundled_task(row.task);
    for (std::int64_t index = 0; index < 4; ++index) {
      const RulerSample sample = task->sample(5001, index);
      const std::vector<std::string>& references = sample.prompt.references;
      const std::vector<Needle> needles = needles_in(sample.text);
      if (row.needles > 0) {
        EXPECT_EQ(needles.size(), row.needles);
      } else {
        EXPECT_GT(needles.size(), 40U);
      }
      ASSERT_EQ(references.size(), row.references);
      static const std::regex uuid(
          "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
      std::set<std::string> keys, values;
      for (const Needle& needle : needles) {
        keys.insert(needle.key);
        values.insert(needle.value);
        EXPECT_EQ(needle.type, row.uuid_values ? "uuids" : "numbers");
        EXPECT_EQ(std::regex_match(needle.key, uuid), row.uuid_keys) << needle.key;
        EXPECT_EQ(std::regex_match(needle.value, uuid), row.uuid_values) << needle.value;
      }
      EXPECT_EQ(values.size(), needles.size());
      const bool one_key = std::string(row.task) == "niah_multivalue";
      EXPECT_EQ(keys.size(), one_key ? 1U : needles.size());
      // The question asks for exactly those keys whose values are the references.
      const std::string question = sample.text.substr(sample.text.rfind("\n\nWhat "));
      for (const Needle& needle : needles) {
        const bool is_asked = question.find(" " + needle.key + " ") != std::string::npos ||
                              question.find(" " + needle.key + ",") != std::string::npos;
        const bool is_reference =
            std::count(references.begin(), references.end(), needle.value) == 1;
        EXPECT_EQ(is_asked, is_reference) << needle.key;
        EXPECT_EQ(count_of(sample.text, needle.value), 1);
      }
      EXPECT_EQ(question.find("What is ") != std::string::npos, row.references == 1);
      // A needle's depth is where it stands.
      EXPECT_EQ(sample.prompt.depth.has_value(), row.references == 1);
      if (!sample.prompt.depth) continue;
      const auto asked = std::find_if(needles.begin(), needles.end(), [&](const Needle& needle) {
        return needle.value == references.front();
      });
      const auto end = static_cast<double>(sample.text.rfind("\n\nWhat "));
      EXPECT_NEAR(static_cast<double>(asked->place) / end, *sample.prompt.depth, 0.06);
    }
  }
}

TEST(RulerContent, NumberOfNeedlesAsAsked) {
  RulerOptions options = some_options();
  options.needles = 7;
  for (const char* const name : {"niah_multikey_1", "niah_multivalue", "niah_multiquery"}) {
    EXPECT_EQ(needles_in(bundled_task(name, options)->sample(4096, 0).text).size(), 7U);
  }
  options.needles = 41;
  EXPECT_NE(message_of<std::invalid_argument>([&] {
              bundled_task("niah_multivalue", options);
            }).find("needles 41: expected 1 to 40"),
            std::string::npos);
}

TEST(RulerContent, DepthsCoverTheText) {
  RulerOptions options = some_options();
  options.samples = 100;
  const auto task = bundled_task("niah_single_1", options);
  std::set<double> depths;
  for (std::int64_t index = 0; index < 100; ++index)
    depths.insert(*task->sample(700, index).prompt.depth);
  EXPECT_GT(depths.size(), 30U);
  EXPECT_LT(*depths.begin(), 0.1);
  EXPECT_GT(*depths.rbegin(), 0.9);
}

TEST(RulerContent, TextIsTheUsersOwn) {
  const auto text = made_up_text();
  const std::string prompt = bundled_task("niah_single_2")->sample(4096, 2).text;
  const std::vector<Needle> needles = needles_in(prompt);
  ASSERT_EQ(needles.size(), 1U);
  std::string context = between(prompt, "at the end.\n\n", "\n\nWhat ");
  const std::size_t at = context.find("One of the special");
  const std::string before = context.substr(0, at);
  // What stands before the needle follows each other in the text, and ends with a sentence.
  if (!before.empty()) {
    EXPECT_NE(text->text.find(before.substr(0, before.size() - 1)), std::string::npos);
    EXPECT_EQ(before.substr(before.size() - 2), ". ");
  }
}

TEST(RulerContent, ChainOfVariables) {
  RulerOptions options = some_options();
  for (const std::int64_t chains : {1, 3}) {
    for (const std::int64_t hops : {1, 4}) {
      options.chains = chains;
      options.hops = hops;
      const auto task = bundled_task("vt", options);
      for (std::int64_t index = 0; index < 4; ++index) {
        const RulerSample sample = task->sample(4096, index);
        // The solved example, then the sample: each is run by an interpreter.
        const std::size_t second = sample.text.rfind("The text below assigns");
        ASSERT_GT(second, 0U);
        for (const bool is_example : {true, false}) {
          const std::string text =
              is_example ? sample.text.substr(0, second) : sample.text.substr(second);
          std::map<std::string, std::string> values;
          static const std::regex assignment(R"(VAR ([A-Z]{5}) = (?:VAR ([A-Z]{5})|(\d{5}))\n)");
          for (std::sregex_iterator i(text.begin(), text.end(), assignment), end; i != end; ++i) {
            if ((*i)[2].matched) {
              ASSERT_EQ(values.count((*i)[2]), 1U) << (*i)[2] << " is used before it has a value";
            }
            const std::string value = (*i)[2].matched ? values[(*i)[2]] : std::string((*i)[3]);
            EXPECT_TRUE(values.emplace((*i)[1], value).second);
          }
          EXPECT_EQ(static_cast<std::int64_t>(values.size()), chains * (hops + 1));
          const std::string asked = between(text, "Which variables have the value ", ", directly");
          std::set<std::string> solution;
          for (const auto& [name, value] : values) {
            if (value == asked) solution.insert(name);
          }
          std::vector<std::string> expected = sample.prompt.references;
          if (is_example) expected = words_in(text.substr(text.rfind("are:") + 4));
          EXPECT_EQ(solution, std::set<std::string>(expected.begin(), expected.end()));
          EXPECT_EQ(expected.size(), static_cast<std::size_t>(hops + 1));
        }
      }
    }
  }
}

// Entries of "1. word 2. word", checked for their numbers.
std::map<std::string, int> counted(const std::string& list) {
  std::map<std::string, int> counts;
  const std::vector<std::string> parts = words_in(list);
  std::size_t number = 0;
  for (std::size_t i = 0; i + 1 < parts.size() && parts[i] != "*" && parts[i] != "."; i += 2) {
    EXPECT_EQ(parts[i], std::to_string(++number) + ".");
    ++counts[parts[i + 1]];
  }
  return counts;
}

TEST(RulerContent, CommonWords) {
  for (const auto& [context, common, other, example_common, example_other] :
       {std::tuple{3000, 6, 1, 3, 1}, {4096, 30, 3, 10, 3}, {16384, 30, 3, 10, 3}}) {
    const auto task = bundled_task("cwe");
    for (std::int64_t index = 0; index < 3; ++index) {
      const RulerSample sample = task->sample(context, index);
      const std::map<std::string, int> counts =
          counted(between(sample.text, "Find those.\n\n", "\n\nQuestion"));
      std::set<std::string> most;
      int fewer = 0;
      for (const auto& [word, count] : counts) {
        if (count == common)
          most.insert(word);
        else if (count != other)
          ++fewer;
        EXPECT_TRUE(count == common || count <= other) << word << " " << count;
      }
      EXPECT_LE(fewer, 1);  // the last one
      const std::vector<std::string>& references = sample.prompt.references;
      EXPECT_EQ(most, std::set<std::string>(references.begin(), references.end()));
      EXPECT_EQ(most.size(), 10U);
      // The solved example has words of its own.
      const std::size_t second = sample.text.rfind("Here is a numbered");
      const std::string example = sample.text.substr(0, second);
      const std::map<std::string, int> solved =
          counted(between(example, "Find those.\n\n", "\n\nQuestion"));
      std::set<std::string> solved_most;
      for (const auto& [word, count] : solved) {
        EXPECT_EQ(counts.count(word), 0U);
        EXPECT_TRUE(count == example_common || count == example_other);
        if (count == example_common) solved_most.insert(word);
      }
      std::set<std::string> answer;
      for (const auto& [word, count] : counted(example.substr(example.rfind("are:") + 4)))
        answer.insert(word);
      EXPECT_EQ(solved_most, answer);
    }
  }
}

TEST(RulerContent, FrequentWordsFollowTheZetaLaw) {
  for (const std::int64_t context : {2000, 4096, 32768}) {
    for (std::int64_t index = 0; index < 3; ++index) {
      const RulerSample sample = bundled_task("fwe")->sample(context, index);
      std::map<std::string, int> counts;
      for (const std::string& word :
           words_in(between(sample.text, "not words.\n\n", "\n\nQuestion"))) {
        ++counts[word];
      }
      const int dots = counts["..."];
      std::vector<std::pair<int, std::string>> ranked;
      for (const auto& [word, count] : counts) {
        if (std::isalpha(static_cast<unsigned char>(word[0]))) {
          EXPECT_EQ(word.size(), 6U);
          ranked.emplace_back(count, word);
        }
      }
      std::sort(ranked.rbegin(), ranked.rend());
      ASSERT_GT(ranked.size(), 4U);
      EXPECT_GT(ranked[2].first, ranked[3].first);  // the three are no matter of taste
      for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(ranked[i].second, sample.prompt.references[i]);
      // Word k against the dots, which are k = 1: k^-2, but for rounding down.
      for (std::size_t i = 0; i < 5; ++i) {
        const auto rank = static_cast<double>(i + 2);
        EXPECT_NEAR(ranked[i].first, dots / (rank * rank), 1) << i;
      }
    }
  }
}

TEST(RulerContent, QuestionsAmongDocuments) {
  for (const char* const name : {"qa_1", "qa_2"}) {
    const auto task = bundled_task(name);
    std::set<std::string> questions;
    for (std::int64_t index = 0; index < 4; ++index) {
      const RulerSample sample = task->sample(5001, index);
      ASSERT_EQ(sample.prompt.references.size(), 1U);
      const std::string& answer = sample.prompt.references.front();
      EXPECT_EQ(count_of(sample.text, answer), 1) << answer;
      const std::string question = between(sample.text, "Question: ", " Answer:");
      EXPECT_TRUE(questions.insert(question).second);
      // The number in the question and in the answer agree in the test's files.
      const int asked = std::stoi(question.substr(question.find_first_of("0123456789")));
      EXPECT_EQ(answer.substr(answer.find('1')), std::to_string(1000 + asked));
      const std::int64_t documents = count_of(sample.text, "\n\nDocument ");
      EXPECT_GT(documents, 8);
      for (std::int64_t i = 1; i <= documents; ++i) {
        EXPECT_EQ(count_of(sample.text, "\n\nDocument " + std::to_string(i) + ":\n"), 1);
      }
      if (std::string(name) == "qa_2") {
        for (int d = 0; d < 3; ++d) {
          EXPECT_EQ(count_of(sample.text, "\nTitle " + std::to_string(asked * 3 + d) + "\n"), 1);
        }
      }
    }
  }
}

}  // namespace
}  // namespace seer
