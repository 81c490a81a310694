// RULER's scores, files, settings and errors.
#include <gtest/gtest.h>

#include <set>

#include "eval/ruler/random.h"
#include "ruler_samples.h"

namespace seer {
namespace {

using namespace test;

TEST(RulerScore, ByHand) {
  EXPECT_EQ(string_match_all(" 1234567, 89", {"1234567", "7654321"}), 0.5);
  EXPECT_EQ(string_match_all("ABCDE and fghij.", {"abcde", "FGHIJ"}), 1);
  EXPECT_EQ(string_match_all("", {"a", "b"}), 0);
  EXPECT_EQ(string_match_all("one two", {"one", "two", "six", "ten"}), 0.5);
  EXPECT_EQ(string_match_part("It was PARIS", {"London", "Paris"}), 1);
  EXPECT_EQ(string_match_part("It was Rome", {"London", "Paris"}), 0);
  EXPECT_EQ(string_match_part("ÉMILE ZOLA", {"Émile Zola"}), 1);
  EXPECT_EQ(string_match_part("\xff Rome", {"rome"}), 1);  // a byte that is no UTF-8
  EXPECT_EQ(string_match_all("x", {}), 0);
}

TEST(RulerScore, OfTheTasks) {
  EvalPrompt prompt;
  prompt.references = {"a1", "b2"};
  for (const std::string& name : ruler_task_names()) {
    const auto task = bundled_task(name);
    const bool is_qa = name.starts_with("qa");
    EXPECT_EQ(task->name(), "ruler/" + name);
    EXPECT_EQ(task->metric(), is_qa ? "string_match_part" : "string_match_all");
    EXPECT_EQ(task->score(prompt, "B2"), is_qa ? 1 : 0.5);
    const std::int64_t expected = name.starts_with("niah") ? 128
                                  : name == "vt"           ? 30
                                  : name == "cwe"          ? 120
                                  : name == "fwe"          ? 50
                                                           : 32;
    EXPECT_EQ(task->prompt(4096, 0).max_new_tokens, expected);
  }
}

TEST(Ruler, TheSameOnEveryMachine) {
  // Hashes (FNV-1a, 64 bits) of texts that are made without the C++ library's distributions or shuffles.
  struct Row {
    const char* task;
    std::uint64_t hash;
  };
  for (const Row& row :
       {Row{"niah_single_1", 0x22fed8cbc2b1ed38}, Row{"niah_multikey_3", 0x4fe78d8eb508ae7c},
        Row{"niah_multiquery", 0xcacb3fc5a43d7cc7}, Row{"vt", 0xa39f69e7c9d7d5e5},
        Row{"cwe", 0x30e64a1ef7bbe6d4}, Row{"fwe", 0xe8a4c12018f6d464},
        Row{"qa_1", 0x9aa224593e2dcc0a}}) {
    EXPECT_EQ(ruler::hash_of(bundled_task(row.task)->sample(5001, 1).text), row.hash) << row.task;
  }
}

TEST(Ruler, SamplesDifferBySeedContextIndexAndTask) {
  std::set<std::string> texts;
  for (const char* const name : {"niah_multivalue", "niah_multiquery", "vt"}) {
    for (const std::uint64_t seed : {0, 1}) {
      RulerOptions options = some_options();
      options.seed = seed;
      const auto task = bundled_task(name, options);
      for (const std::int64_t context : {4096, 4100}) {
        for (const std::int64_t index : {0, 1}) {
          const RulerSample sample = task->sample(context, index);
          EXPECT_EQ(task->sample(context, index).text, sample.text);
          for (const std::string& reference : sample.prompt.references) {
            EXPECT_TRUE(texts.insert(reference).second) << name << reference;
          }
        }
      }
    }
  }
}

TEST(Ruler, SettingsSayWhatSamplesDependOn) {
  std::set<std::string> settings;
  RulerOptions options = some_options();
  settings.insert(bundled_task("niah_multivalue", options)->settings());
  options.seed = 1;
  settings.insert(bundled_task("niah_multivalue", options)->settings());
  options.needles = 3;
  settings.insert(bundled_task("niah_multivalue", options)->settings());
  options.length_of = RulerLength::kPrompt;
  settings.insert(bundled_task("niah_multivalue", options)->settings());
  options.words =
      write_file("words.json", R"({"nouns": ["a","b","c","d","e","f","g","h","i","j"]})");
  settings.insert(bundled_task("niah_multivalue", options)->settings());
  settings.insert(make_ruler_task("niah_multivalue", bundled_tokenizer(), kBos,
                                  ruler_text("Another text."), options)
                      ->settings());
  EXPECT_EQ(settings.size(), 6U);
  for (const std::string& text : settings) EXPECT_TRUE(Json::parse(text).is_object());
  // What a task does not use is no part of it.
  options = some_options();
  const std::string vt = bundled_task("vt", options)->settings();
  options.needles = 9;
  EXPECT_EQ(bundled_task("vt", options)->settings(), vt);
}

TEST(Ruler, WordsOfAFile) {
  nlohmann::json lists;
  for (int i = 0; i < 400; ++i) lists["words"].push_back("item" + std::to_string(i));
  for (int i = 0; i < 12; ++i) lists["nouns"].push_back("noun" + std::to_string(i));
  RulerOptions options = some_options();
  options.words = write_file("lists.json", lists.dump());
  for (const std::string& word : bundled_task("cwe", options)->sample(4096, 0).prompt.references) {
    EXPECT_TRUE(word.starts_with("item")) << word;
  }
  EXPECT_NE(bundled_task("niah_single_1", options)->sample(4096, 0).text.find("-noun"),
            std::string::npos);
  const std::string message =
      message_of<std::invalid_argument>([&] { bundled_task("cwe", options)->sample(65536, 0); });
  EXPECT_NE(message.find("the list's 400 words"), std::string::npos) << message;
  options.words = write_file("lists.json", R"({"nouns": ["a"]})");
  EXPECT_NE(message_of<std::runtime_error>([&] {
              bundled_task("cwe", options);
            }).find("nouns: expected a list"),
            std::string::npos);
}

TEST(Ruler, PromptsOfAFile) {
  RulerOptions options = some_options();
  options.prompts = write_file("prompts.json", R"({
    "niah": {"tokens_to_generate": 64,
             "template": "Some {type_needle_v} are here.\n{context}\nWhat are all the {type_needle_v} for {query}? {x}",
             "answer_prefix": " The {type_needle_v} for {query} are"},
    "variable_tracking": {"template": "Track.\n{context}\nFind {query}.", "answer_prefix": " {num_v} are:"}})");
  const RulerSample one = bundled_task("niah_single_1", options)->sample(4096, 0);
  EXPECT_TRUE(one.text.starts_with("A number is here.\n")) << one.text.substr(0, 80);
  EXPECT_EQ(one.prompt.max_new_tokens, 64);
  EXPECT_EQ(one.prompt.tokens.size(), 4096U - 64U);
  EXPECT_NE(one.text.find("\nWhat is the number for "), std::string::npos);
  EXPECT_NE(one.text.find("? {x} The number for "), std::string::npos);
  EXPECT_TRUE(one.text.ends_with(" is"));
  const RulerSample four = bundled_task("niah_multivalue", options)->sample(4096, 0);
  EXPECT_TRUE(four.text.starts_with("Some numbers are here.\n"));
  EXPECT_TRUE(four.text.ends_with(" are"));
  const RulerSample vt = bundled_task("vt", options)->sample(4096, 0);
  EXPECT_TRUE(vt.text.ends_with(". 5 are:")) << vt.text.substr(vt.text.size() - 40);
  EXPECT_EQ(count_of(vt.text, "Track.\n"), 2);  // the solved example too

  for (const auto& [text, expected] :
       {std::pair{R"({"nih": {}})", "unknown family"},
        {R"({"qa": {"template": "x", "answer_prefix": ""}})", "expected {context} once"},
        {R"({"qa": {"template": "{context}"}})", "'answer_prefix'"},
        {R"({"qa": {"template": "{context}", "answer_prefix": "", "x": 1}})", "qa.x: unknown"},
        {R"({"niah": {"template": "{context}", "answer_prefix": "", "needle": "{key}"}})",
         "{value}"},
        {R"([])", "expected an object"}}) {
    options.prompts = write_file("bad.json", text);
    const std::string message =
        message_of<std::runtime_error>([&] { bundled_task("vt", options); });
    EXPECT_NE(message.find(expected), std::string::npos) << message;
    EXPECT_NE(message.find("bad.json"), std::string::npos) << message;
  }
}

TEST(Ruler, WhatIsMissingIsNamed) {
  const auto refused = [](const std::string& name, const RulerOptions& options) {
    return message_of<std::invalid_argument>(
        [&] { make_ruler_task(name, bundled_tokenizer(), kBos, nullptr, options); });
  };
  EXPECT_NE(refused("niah", {}).find("niah_single_1, "), std::string::npos);
  EXPECT_NE(refused("niah_single_2", {}).find("--text"), std::string::npos);
  EXPECT_NE(refused("qa_1", {}).find("--squad dev-v2.0.json"), std::string::npos);
  EXPECT_NE(refused("qa_2", {}).find("hotpot_dev_distractor_v1.json"), std::string::npos);
  EXPECT_EQ(refused("vt", {}), "no error");
  RulerOptions options = some_options();
  options.samples = 161;
  EXPECT_NE(refused("qa_1", options).find("160 questions"), std::string::npos)
      << refused("qa_1", options);
  options = some_options();
  std::swap(options.squad, options.hotpotqa);
  for (const char* const name : {"qa_1", "qa_2"}) {
    const std::string message = message_of<std::runtime_error>(
        [&] { make_ruler_task(name, bundled_tokenizer(), kBos, nullptr, options); });
    EXPECT_NE(message.find(".json: expected "), std::string::npos) << message;
  }
  EXPECT_THROW(bundled_task("vt")->sample(4096, 4), std::invalid_argument);
  EXPECT_THROW(bundled_task("vt")->sample(0, 0), std::invalid_argument);
  EXPECT_THROW(bundled_task("fwe")->sample(std::int64_t{1} << 40, 0), std::invalid_argument);
}

TEST(RulerFile, RowsComeBackAsTheyWere) {
  std::vector<std::unique_ptr<RulerTask>> tasks;
  for (const char* const name : {"vt", "niah_single_2", "qa_1"})
    tasks.push_back(bundled_task(name));
  const std::filesystem::path file = temporary_folder() / "samples.jsonl";
  std::int64_t rows = 0;
  write_ruler_jsonl(tasks, bundled_tokenizer(), {4096, 5001}, file,
                    [&](std::int64_t done, std::int64_t total) {
                      EXPECT_EQ(done, rows++);
                      EXPECT_EQ(total, 24);
                    });
  EXPECT_EQ(rows, 24);
  for (const auto& task : tasks) {
    const auto read = make_ruler_file_task(file, task->name().substr(6), bundled_tokenizer(), kBos);
    EXPECT_EQ(read->name(), task->name());
    EXPECT_EQ(read->metric(), task->metric());
    for (const std::int64_t context : {4096, 5001}) {
      ASSERT_EQ(read->samples(context), 4);
      for (std::int64_t index = 0; index < 4; ++index) {
        const EvalPrompt expected = task->prompt(context, index),
                         got = read->prompt(context, index);
        EXPECT_EQ(got.tokens, expected.tokens);
        EXPECT_EQ(got.references, expected.references);
        EXPECT_EQ(got.max_new_tokens, expected.max_new_tokens);
        EXPECT_EQ(got.depth, expected.depth);
      }
    }
    EXPECT_THROW(read->samples(8192), std::invalid_argument);
  }
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".part"));
  // Given up: nothing is left.
  std::filesystem::remove(file);
  EXPECT_THROW(
      write_ruler_jsonl(tasks, bundled_tokenizer(), {4096}, file,
                        [](std::int64_t, std::int64_t) { throw std::runtime_error("enough"); }),
      std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".part"));
}

TEST(RulerFile, PublishedRows) {
  const std::filesystem::path file = write_file(
      "published.jsonl",
      R"({"index": 0, "input": "Find it. It is 42. What is it?", "outputs": ["42"], "length": 20})"
      "\n\n"
      R"({"index": 1, "input": "<|begin_of_text|>Where?", "answer_prefix": " It is", "outputs": ["here", "there"], "length": 9, "token_position_answer": 3})"
      "\n");
  const auto task = make_ruler_file_task(file, "niah_single_1", bundled_tokenizer(), kBos);
  EXPECT_EQ(task->samples(4096), 2);
  EXPECT_EQ(task->prompt(4096, 0).tokens,
            bundled_tokenizer().encode("Find it. It is 42. What is it?"));
  // A begin-of-text token is not doubled; the answer's first words belong to the prompt.
  EXPECT_EQ(task->prompt(4096, 1).tokens, bundled_tokenizer().encode("Where? It is"));
  EXPECT_EQ(task->prompt(4096, 1).references, (std::vector<std::string>{"here", "there"}));
  const std::string message = message_of<std::invalid_argument>([&] { task->samples(130); });
  EXPECT_NE(message.find("published.jsonl:1: the row takes "), std::string::npos) << message;
  for (const auto& [text, expected] :
       {std::pair{R"({"input": "x"})", ":1: expected a list of texts in field 'outputs'"},
        {R"({"outputs": ["x"]})", ":1: expected a text in field 'input'"},
        {R"({"input": "x", "outputs": [1]})", "'outputs'"},
        {R"({"input": "x", "outputs": ["x"], "task": "vt"})", "no rows of the task cwe"},
        {"[]", "expected an object"},
        {"", "no rows"}}) {
    const std::filesystem::path bad = write_file("bad.jsonl", text);
    const std::string said = message_of<std::runtime_error>(
        [&] { make_ruler_file_task(bad, "cwe", bundled_tokenizer(), kBos); });
    EXPECT_NE(said.find(expected), std::string::npos) << said;
  }
}

TEST(RulerText, BlanksAndDocuments) {
  const auto text = ruler_text("  One\n\ntwo\t three.  ");
  EXPECT_EQ(text->text, "One two three.");
  EXPECT_EQ(text->words, 3);
  EXPECT_EQ(ruler_text(" \n")->words, 0);
  TokenStream stream;
  for (const char* const document : {"One two.", "Three."}) {
    for (const TokenId token : bundled_tokenizer().encode(document)) {
      stream.tokens.push_back(static_cast<std::int32_t>(token));
    }
  }
  EXPECT_EQ(ruler_text(stream, bundled_tokenizer())->text, "One two. Three.");
}

}  // namespace
}  // namespace seer
