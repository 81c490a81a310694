// LongBench's datasets: rows, prompts, what is cut from them, scores and settings.
#include "seer/longbench.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "ruler_samples.h"

namespace seer {
namespace {

using namespace test;

const std::filesystem::path kFolder = temporary_folder() / "longbench";

void write_rows(const std::string& name, const std::string& text) {
  std::filesystem::create_directories(kFolder);
  std::ofstream(kFolder / (name + ".jsonl"), std::ios::binary) << text;
}

// Words that tell where they stood.
std::string numbered_words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "word" + std::to_string(i) + (i % 12 == 11 ? ".\n" : " ");
  return text;
}

Json some_row(const std::string& name) {
  Json row = {{"input", "What is the name?"},
              {"context", "The name is Wren."},
              {"answers", {"Wren", "the wren"}},
              {"length", 4321},
              {"dataset", name},
              {"language", "en"},
              {"all_classes", nullptr},
              {"_id", "0a1b"}};
  if (name == "trec" || name == "lsht") {
    row["answers"] = {"bird"};
    row["all_classes"] = {"bird", "fish", "blackbird"};
  }
  if (name.starts_with("passage_retrieval")) {
    row["answers"] = {name.ends_with("zh") ? "段落3" : "Paragraph 3"};
  }
  if (name == "passage_count") row["answers"] = {"3"};
  return row;
}

std::unique_ptr<EvalTask> task_of(const std::string& name, LongBenchOptions options = {}) {
  options.folder = kFolder;
  return make_longbench_task(name, bundled_tokenizer(), kBos, options);
}

std::unique_ptr<EvalTask> task_of_rows(const std::string& name, const std::vector<Json>& rows,
                                       const LongBenchOptions& options = {}) {
  std::string text;
  for (const Json& row : rows) text += row.dump() + "\n";
  write_rows(name, text);
  return task_of(name, options);
}

LongBenchOptions with_prompt(const std::string& name, const std::string& text) {
  LongBenchOptions options;
  options.prompts = write_file("longbench-prompts.json", Json{{name, text}}.dump());
  return options;
}

std::shared_ptr<const ChatTemplate> some_chat(const std::string& begin = "<U>") {
  return std::make_shared<ChatTemplate>(
      ChatTemplate::parse("{% for m in messages %}" + begin +
                              "{{ m.content | trim }}</U>{% endfor %}"
                              "{% if add_generation_prompt %}<A>{% endif %}",
                          "chat"));
}

std::vector<TokenId> encoded(const std::string& text, bool begin = true) {
  std::vector<TokenId> tokens = bundled_tokenizer().encode(text, false);
  if (begin) tokens.insert(tokens.begin(), kBos);
  return tokens;
}

std::string text_of(const EvalPrompt& prompt) {
  return bundled_tokenizer().decode(prompt.tokens, true);
}

TEST(LongBench, DatasetsAsPublished) {
  struct Row {
    std::string metric;
    std::int64_t max_new_tokens;
    bool has_chat;
  };
  const std::map<std::string, Row> expected = {{"narrativeqa", {"qa_f1", 128, true}},
                                               {"qasper", {"qa_f1", 128, true}},
                                               {"multifieldqa_en", {"qa_f1", 64, true}},
                                               {"multifieldqa_zh", {"qa_f1_zh", 64, true}},
                                               {"hotpotqa", {"qa_f1", 32, true}},
                                               {"2wikimqa", {"qa_f1", 32, true}},
                                               {"musique", {"qa_f1", 32, true}},
                                               {"dureader", {"rouge_l_zh", 128, true}},
                                               {"gov_report", {"rouge_l", 512, true}},
                                               {"qmsum", {"rouge_l", 512, true}},
                                               {"multi_news", {"rouge_l", 512, true}},
                                               {"vcsum", {"rouge_l_zh", 512, true}},
                                               {"trec", {"classification", 64, false}},
                                               {"triviaqa", {"qa_f1", 32, false}},
                                               {"samsum", {"rouge_l", 128, false}},
                                               {"lsht", {"classification", 64, false}},
                                               {"passage_count", {"count", 32, true}},
                                               {"passage_retrieval_en", {"paragraph", 32, true}},
                                               {"passage_retrieval_zh", {"paragraph_zh", 32, true}},
                                               {"lcc", {"code_similarity", 64, false}},
                                               {"repobench-p", {"code_similarity", 64, false}}};
  EXPECT_EQ(longbench_task_names().size(), 21U);
  EXPECT_EQ(expected.size(), 21U);
  LongBenchOptions chat;
  chat.chat = some_chat();
  for (const std::string& name : longbench_task_names()) {
    const auto task = task_of_rows(name, {some_row(name)});
    const EvalPrompt prompt = task->prompt(4096, 0);
    EXPECT_EQ(task->name(), "longbench/" + name);
    EXPECT_EQ(task->metric(), expected.at(name).metric);
    EXPECT_EQ(prompt.max_new_tokens, expected.at(name).max_new_tokens);
    EXPECT_EQ(prompt.tokens.front(), kBos);
    const std::string text = text_of(prompt);
    EXPECT_EQ(count_of(text, "The name is Wren."), 1) << text;
    const bool asks_nothing = name == "gov_report" || name == "multi_news" || name == "vcsum" ||
                              name == "passage_count" || name == "lcc";
    EXPECT_EQ(count_of(text, "What is the name?"), asks_nothing ? 0 : 1) << text;
    EXPECT_EQ(text.find('{'), std::string::npos) << text;
    EXPECT_EQ(prompt.references, some_row(name)["answers"].get<std::vector<std::string>>());
    EXPECT_EQ(prompt.classes.size(), prompt.references.front() == "bird" ? 3U : 0U);
    const EvalPrompt in_chat = task_of(name, chat)->prompt(4096, 0);
    EXPECT_EQ(in_chat.tokens,
              expected.at(name).has_chat ? encoded("<U>" + text + "</U><A>", false) : prompt.tokens)
        << name;
    EXPECT_EQ(task->score(prompt, prompt.references.front()),
              task->metric().starts_with("rouge") ? 2 / (2 + 1e-8) : 1)
        << name;
    EXPECT_EQ(task->score(prompt, ""), 0) << name;
  }
}

TEST(LongBench, NamesOfLongBenchE) {
  EXPECT_EQ(longbench_e_task_names().size(), 13U);
  EXPECT_EQ(longbench_e_task_names().front(), "qasper_e");
  EXPECT_EQ(longbench_file("folder", "lcc_e"), std::filesystem::path("folder/lcc_e.jsonl"));
  write_rows("qasper_e", some_row("qasper_e").dump());
  EXPECT_EQ(task_of("qasper_e")->name(), "longbench/qasper_e");
  EXPECT_EQ(task_of("qasper_e")->prompt(4096, 0).tokens,
            task_of_rows("qasper", {some_row("qasper")})->prompt(4096, 0).tokens);
  for (const char* const name :
       {"", "_e", "narrativeqa_e", "qasper_e_e", "Qasper", "longbench/qasper"}) {
    const std::string message =
        message_of<std::invalid_argument>([&] { longbench_file("folder", name); });
    EXPECT_NE(message.find("narrativeqa, qasper, "), std::string::npos) << message;
    EXPECT_NE(message.find("qasper_e"), std::string::npos) << message;
  }
}

TEST(LongBench, SubsetsByLength) {
  std::vector<Json> rows;
  for (const int length : {0, 3999, 4000, 7999, 8000, 100000}) {
    rows.push_back(some_row("qasper"));
    rows.back()["length"] = length;
  }
  const auto task = task_of_rows("qasper", rows);
  const std::vector<std::string> expected = {"0-4k", "0-4k", "4-8k", "4-8k", "8k+", "8k+"};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(task->prompt(4096, static_cast<std::int64_t>(i)).subset, expected[i]);
  }
}

TEST(LongBench, RowsWithOddLineEnds) {
  const std::string row = some_row("qasper").dump();
  write_rows("qasper", row + "\r\n\r\n \t\n" + row + "\n\n");
  EXPECT_EQ(task_of("qasper")->samples(4096), 2);
  write_rows("qasper", row);
  EXPECT_EQ(task_of("qasper")->samples(4096), 1);
  // Only a line feed ends a line.
  Json odd = some_row("qasper");
  odd["context"] = "one\u2028two\r\nthree\u0085";
  const auto task = task_of_rows("qasper", {odd, odd}, with_prompt("qasper", "{context}|{input}"));
  EXPECT_EQ(task->prompt(4096, 1).tokens, encoded("one\u2028two\r\nthree\u0085|What is the name?"));
}

TEST(LongBench, OddRowsAreRefusedWithTheirPlace) {
  const auto refused = [](const std::string& name, const std::string& second) {
    write_rows(name, some_row(name).dump() + "\n\n" + second + "\n");
    return message_of<std::runtime_error>([&] { task_of(name); });
  };
  const auto changed = [](const std::string& name, const char* field, const Json& value) {
    Json row = some_row(name);
    if (value.is_discarded()) {
      row.erase(field);
    } else {
      row[field] = value;
    }
    return row.dump();
  };
  const Json gone(Json::value_t::discarded);
  struct Case {
    std::string name, row, expected;
  };
  const std::vector<Case> cases = {
      {"qasper", changed("qasper", "input", gone), "expected a text in field 'input'"},
      {"qasper", changed("qasper", "context", 5), "expected a text in field 'context'"},
      {"qasper", changed("qasper", "answers", gone), "one or more texts in field 'answers'"},
      {"qasper", changed("qasper", "answers", Json::array()),
       "one or more texts in field 'answers'"},
      {"qasper", changed("qasper", "answers", "Wren"), "one or more texts in field 'answers'"},
      {"qasper", changed("qasper", "answers", {"Wren", 5}), "one or more texts in field 'answers'"},
      {"qasper", changed("qasper", "length", gone), "expected an integer from 0 in field 'length'"},
      {"qasper", changed("qasper", "length", -1), "expected an integer from 0 in field 'length'"},
      {"qasper", changed("qasper", "length", 1.5), "expected an integer from 0 in field 'length'"},
      {"qasper", changed("qasper", "dataset", "trec"), "one of trec, expected one of qasper"},
      {"qasper", changed("qasper", "dataset", "trec_e"), "one of trec, expected one of qasper"},
      {"trec", changed("trec", "all_classes", nullptr), "one or more texts in field 'all_classes'"},
      {"trec", changed("trec", "all_classes", gone), "one or more texts in field 'all_classes'"},
      {"passage_retrieval_en", changed("passage_retrieval_en", "answers", {"Paragraph 3", "3"}),
       "field 'answers': reference \"3\": expected \"Paragraph \" and a number"},
      {"passage_retrieval_zh", changed("passage_retrieval_zh", "answers", {"Paragraph 3"}),
       "field 'answers'"},
      {"qasper", "[]", "expected an object"},
      {"qasper", "{\"input\": \"\xff\"}", "UTF-8"},
      {"qasper", "{\"input\": \"\\ud800\"}", ""},
      {"qasper", "{\"input\": ", ""}};
  for (const Case& bad : cases) {
    const std::string message = refused(bad.name, bad.row);
    EXPECT_NE(message.find(bad.name + ".jsonl:3: "), std::string::npos) << message;
    EXPECT_NE(message.find(bad.expected), std::string::npos) << message;
  }
  write_rows("qasper", " \r\n");
  EXPECT_NE(
      message_of<std::runtime_error>([] { task_of("qasper"); }).find("qasper.jsonl: holds no rows"),
      std::string::npos);
  std::filesystem::remove(kFolder / "qasper.jsonl");
  EXPECT_NE(message_of<std::runtime_error>([] { task_of("qasper"); }).find("qasper.jsonl"),
            std::string::npos);
}

TEST(LongBench, PromptsOfAFile) {
  Json row = some_row("qasper");
  row["context"] = "{input} {context} {x} {{";
  row["input"] = "{context}?";
  const auto task =
      task_of_rows("qasper", {row}, with_prompt("qasper", "{{x}} {context} {input}{y"));
  // What is put in is not looked at again.
  EXPECT_EQ(task->prompt(4096, 0).tokens, encoded("{{x}} {input} {context} {x} {{ {context}?{y"));
  // A dataset that the file has not keeps its words.
  const auto other = task_of_rows("hotpotqa", {some_row("hotpotqa")});
  EXPECT_EQ(task_of("hotpotqa", with_prompt("qasper", "{context}"))->prompt(4096, 0).tokens,
            other->prompt(4096, 0).tokens);
  for (const auto& [text, expected] :
       {std::pair{R"({"nq": "{context}"})",
                  "unknown dataset \"nq\", expected some of: narrativeqa, "},
        {R"({"trec": "{input}"})", "trec: expected {context} once"},
        {R"({"trec": "{context} {context}"})", "trec: expected {context} once"},
        {R"({"trec": 5})", "trec: expected a text"},
        {R"(["trec"])", "expected an object"},
        {R"({"trec": )", ""}}) {
    LongBenchOptions options;
    options.prompts = write_file("longbench-bad.json", text);
    const std::string message =
        message_of<std::runtime_error>([&] { task_of("hotpotqa", options); });
    EXPECT_NE(message.find(expected), std::string::npos) << message;
    EXPECT_NE(message.find("longbench-bad.json"), std::string::npos) << message;
  }
}

TEST(LongBench, LongPromptsLoseTheirMiddle) {
  Json row = some_row("qasper");
  row["context"] = numbered_words(3000);
  const LongBenchOptions options = with_prompt("qasper", "Begin. {context}The end: {input}");
  const auto task = task_of_rows("qasper", {row}, options);
  const std::vector<TokenId> whole =
      encoded("Begin. " + numbered_words(3000) + "The end: What is the name?");
  const auto all = static_cast<std::int64_t>(whole.size());
  // As long as it is, it fits.
  EXPECT_EQ(task->prompt(all + 128, 0).tokens, whole);
  for (std::int64_t context :
       {all + 127, std::int64_t{4096}, std::int64_t{1001}, std::int64_t{400}}) {
    const EvalPrompt prompt = task->prompt(context, 0);
    const std::int64_t size = static_cast<std::int64_t>(prompt.tokens.size());
    EXPECT_EQ(size + prompt.max_new_tokens, context);
    // Nearly all of both halves is there, token for token.
    const std::int64_t same = size / 2 - 4;
    for (std::int64_t i = 0; i < same; ++i) {
      ASSERT_EQ(prompt.tokens[static_cast<std::size_t>(i)], whole[static_cast<std::size_t>(i)])
          << i;
      ASSERT_EQ(prompt.tokens[static_cast<std::size_t>(size - 1 - i)],
                whole[static_cast<std::size_t>(all - 1 - i)])
          << i;
    }
    EXPECT_TRUE(text_of(prompt).starts_with("Begin. word0 word1 "));
    EXPECT_TRUE(text_of(prompt).ends_with("The end: What is the name?"));
    EXPECT_EQ(task->prompt(context, 0).tokens, prompt.tokens);
  }
}

TEST(LongBench, NoPromptIsTooLong) {
  // Texts whose tokens are parts of characters, or join where the halves meet.
  std::string chinese, blanks = "start", marks, specials;
  for (int i = 0; i < 900; ++i) {
    chinese += i % 7 == 0 ? "水。" : "河山林";
    blanks += std::string(static_cast<std::size_t>(i % 5), ' ') + "\n";
    marks += i % 3 == 0 ? "👍🏽" : "é—";
    specials += "word " + bundled_tokenizer().id_to_token(kBos).value_or("");
  }
  std::int64_t exact = 0, prompts = 0;
  for (const std::string& text : {chinese, blanks, marks, specials, std::string(6000, 'x')}) {
    Json row = some_row("qasper");
    row["context"] = text;
    for (const bool in_chat : {false, true}) {
      LongBenchOptions options = with_prompt("qasper", "{context}{input}");
      if (in_chat) options.chat = some_chat();
      const auto task = task_of_rows("qasper", {row}, options);
      for (std::int64_t context = 180; context < 220; ++context) {
        const EvalPrompt prompt = task->prompt(context, 0);
        const auto size = static_cast<std::int64_t>(prompt.tokens.size()) + prompt.max_new_tokens;
        EXPECT_LE(size, context);
        EXPECT_GE(size, context - 8) << text.substr(0, 20) << context;
        exact += size == context;
        ++prompts;
      }
    }
  }
  EXPECT_GE(exact, prompts / 2) << prompts;
}

TEST(LongBench, ThePublishedCut) {
  Json row = some_row("qasper");
  row["context"] = numbered_words(500);
  row["input"] = "?";
  const std::string text = numbered_words(500) + "?";
  const std::vector<TokenId> whole = encoded(text, false);
  const auto expected = [&](std::size_t front, std::size_t back) {
    const std::span<const TokenId> all(whole);
    return bundled_tokenizer().decode(all.first(front)) +
           bundled_tokenizer().decode(all.last(back));
  };
  LongBenchOptions options = with_prompt("qasper", "{context}{input}");
  options.prompt_tokens = 200;
  // Begin-of-text is one of the first half, with a chat template too.
  EXPECT_EQ(task_of_rows("qasper", {row}, options)->prompt(4096, 0).tokens,
            encoded(expected(99, 100)));
  options.chat = some_chat();
  EXPECT_EQ(task_of("qasper", options)->prompt(4096, 0).tokens,
            encoded("<U>" + expected(99, 100) + "</U><A>", false));
  options.folder = kFolder;
  EXPECT_EQ(make_longbench_task("qasper", bundled_tokenizer(), std::nullopt, options)
                ->prompt(4096, 0)
                .tokens,
            encoded("<U>" + expected(100, 100) + "</U><A>", false));
  // The context has the last word.
  EXPECT_EQ(task_of("qasper", options)->prompt(300, 0).tokens.size(), 300U - 128U);
  options.prompt_tokens = static_cast<std::int64_t>(whole.size()) + 1;
  EXPECT_EQ(task_of("qasper", options)->prompt(1 << 20, 0).tokens,
            encoded("<U>" + text + "</U><A>", false));
}

TEST(LongBench, ShortContextsAreRefused) {
  const auto task = task_of_rows("gov_report", {some_row("gov_report")});
  const std::string message = message_of<std::invalid_argument>([&] { task->samples(528); });
  EXPECT_NE(message.find("longbench/gov_report: context 528: expected 529 or more"),
            std::string::npos)
      << message;
  EXPECT_EQ(task->samples(529), 1);
  EXPECT_EQ(task->prompt(529, 0).tokens.size(), 17U);
  EXPECT_THROW(task->prompt(0, 0), std::invalid_argument);
  EXPECT_THROW(task->prompt(4096, 1), std::invalid_argument);
  EXPECT_THROW(task->prompt(4096, -1), std::invalid_argument);
}

TEST(LongBench, SamplesEvenlyOverTheFile) {
  std::vector<Json> rows;
  for (int i = 0; i < 10; ++i) {
    rows.push_back(some_row("qasper"));
    rows.back()["answers"] = {std::to_string(i)};
  }
  const auto answers = [&](std::int64_t samples) {
    LongBenchOptions options;
    options.samples = samples;
    const auto task = task_of_rows("qasper", rows, options);
    std::string all;
    for (std::int64_t i = 0; i < task->samples(4096); ++i) {
      all += task->prompt(4096, i).references.front();
    }
    return all;
  };
  EXPECT_EQ(answers(0), "0123456789");
  EXPECT_EQ(answers(10), "0123456789");
  EXPECT_EQ(answers(99), "0123456789");
  EXPECT_EQ(answers(4), "0257");
  EXPECT_EQ(answers(1), "0");
  LongBenchOptions options;
  options.samples = -1;
  EXPECT_THROW(task_of("qasper", options), std::invalid_argument);
  options.samples = 0;
  options.prompt_tokens = 15;
  EXPECT_THROW(task_of("qasper", options), std::invalid_argument);
}

TEST(LongBench, ScoreOfTheFirstLineAndTheBestReference) {
  EvalPrompt prompt;
  prompt.references = {"red mill", "blue boat"};
  prompt.classes = {"red mill", "blue boat"};
  const std::string prediction = "\n\nblue boat\nQuestion: red";
  for (const char* const name : {"triviaqa", "trec", "lsht"}) {
    EXPECT_EQ(task_of_rows(name, {some_row(name)})->score(prompt, prediction), 1) << name;
    EXPECT_EQ(task_of(name)->score(prompt, "\n\n"), 0) << name;
  }
  EXPECT_EQ(task_of_rows("samsum", {some_row("samsum")})->score(prompt, prediction),
            2 / (2 + 1e-8));
  // Others count whole: blue, boat of 4 words.
  EXPECT_DOUBLE_EQ(task_of_rows("qasper", {some_row("qasper")})->score(prompt, prediction),
                   2 * 0.5 / 1.5);
}

TEST(LongBench, SettingsSayWhatSamplesDependOn) {
  std::set<std::string> settings;
  const auto add = [&](const LongBenchOptions& options) {
    const std::string text = task_of("qasper", options)->settings();
    EXPECT_TRUE(Json::parse(text).is_object());
    EXPECT_TRUE(settings.insert(text).second) << text;
  };
  task_of_rows("qasper", {some_row("qasper"), some_row("qasper")});
  LongBenchOptions options;
  add(options);
  options.samples = 1;
  add(options);
  options.chat = some_chat();
  add(options);
  options.chat = some_chat("<V>");
  add(options);
  options.prompts = with_prompt("qasper", "{context} {input}").prompts;
  add(options);
  options.prompt_tokens = 100;
  add(options);
  task_of_rows("qasper", {some_row("qasper"), some_row("qasper"), some_row("qasper")});
  add(options);
  // What samples do not depend on: where the file lies, the other datasets' prompts, the number asked beyond all.
  options = {};
  const std::string plain = task_of("qasper", options)->settings();
  options.samples = 3;
  EXPECT_EQ(task_of("qasper", options)->settings(), plain);
  options.prompts = with_prompt("trec", "{context}").prompts;
  EXPECT_EQ(task_of("qasper", options)->settings(), plain);
  options = {};
  options.folder = kFolder;
  EXPECT_NE(make_longbench_task("qasper", bundled_tokenizer(), std::nullopt, options)->settings(),
            plain);
}

}  // namespace
}  // namespace seer
