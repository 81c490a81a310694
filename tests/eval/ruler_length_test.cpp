// Prompts of RULER's tasks have exactly the asked length, and their text gives exactly their ids.
#include <gtest/gtest.h>

#include <chrono>

#include "ruler_samples.h"

namespace seer {
namespace {

using namespace test;

void expect_exact(const RulerTask& task, const Tokenizer& tokenizer, std::int64_t context,
                  std::int64_t index, RulerLength length_of = RulerLength::kTotal) {
  const RulerSample sample = task.sample(context, index);
  std::vector<TokenId> again = tokenizer.encode(sample.text, /*add_special_tokens=*/false);
  if (sample.begin) again.insert(again.begin(), *sample.begin);
  EXPECT_EQ(again, sample.prompt.tokens) << task.name() << " " << context;
  const std::int64_t generated =
      length_of == RulerLength::kTotal ? sample.prompt.max_new_tokens : 0;
  EXPECT_EQ(static_cast<std::int64_t>(sample.prompt.tokens.size()) + generated, context)
      << task.name() << " sample " << index;
}

TEST(RulerLength, EveryTaskLengthAndSeed) {
  for (const std::string& name : ruler_task_names()) {
    for (const std::uint64_t seed : {0, 1, 2}) {
      RulerOptions options = some_options();
      options.seed = seed;
      const auto task = bundled_task(name, options);
      for (const std::int64_t context : {4096, 4097, 4099, 5001, 8192, 12345}) {
        ASSERT_EQ(task->samples(context), 4);
        for (std::int64_t index = 0; index < 3; ++index) {
          expect_exact(*task, bundled_tokenizer(), context, index);
        }
      }
    }
  }
}

TEST(RulerLength, EachOfManyNeighbours) {
  // Whatever is left behind the last whole unit.
  for (const std::string& name : ruler_task_names()) {
    const auto task = bundled_task(name);
    for (std::int64_t context = 4096; context < 4160; ++context) {
      expect_exact(*task, bundled_tokenizer(), context, context % 4);
    }
  }
}

TEST(RulerLength, At128k) {
  RulerOptions options = some_options();
  options.squad = made_up_squad(100, 15);
  options.hotpotqa = made_up_hotpotqa(700);
  for (const std::string& name : ruler_task_names()) {
    const auto task = bundled_task(name, options);
    expect_exact(*task, bundled_tokenizer(), 131072, 0);
    const auto begin = std::chrono::steady_clock::now();
    task->sample(131072, 1);
    const std::chrono::duration<double, std::milli> spent =
        std::chrono::steady_clock::now() - begin;
    RecordProperty(name + " ms", std::to_string(spent.count()));
  }
}

TEST(RulerLength, TheLeastOne) {
  // Little more than the least length that the message names is accepted.
  for (const std::string& name : ruler_task_names()) {
    const auto task = bundled_task(name);
    const std::string message = message_of<std::invalid_argument>([&] { task->sample(50, 1); });
    EXPECT_NE(message.find(name + ": context 50: sample 1 takes "), std::string::npos) << message;
    std::int64_t least = 0;
    std::istringstream(message.substr(message.find("takes ") + 6)) >> least;
    ASSERT_GT(least, 50) << message;
    EXPECT_THROW(task->samples(50), std::invalid_argument);
    if (name == "cwe" || name == "fwe") continue;  // other lists at other lengths
    // The draws depend on the context: names and numbers of other lengths take a few tokens more.
    expect_exact(*task, bundled_tokenizer(), least + 40, 1);
  }
}

TEST(RulerLength, OfThePromptAlone) {
  RulerOptions options = some_options();
  options.length_of = RulerLength::kPrompt;
  for (const std::string& name : ruler_task_names()) {
    expect_exact(*bundled_task(name, options), bundled_tokenizer(), 5001, 0, RulerLength::kPrompt);
  }
}

TEST(RulerLength, Chat) {
  // With and without the trimming that some templates do, and with a begin-of-text token of its own.
  for (const char* const content : {"m.content", "m.content | trim"}) {
    RulerOptions options = some_options();
    options.chat = std::make_shared<ChatTemplate>(ChatTemplate::parse(
        std::string("<|begin_of_text|>{% for m in messages %}[{{ m.role }}]\n{{ ") + content +
            " }}<|pad|>{% endfor %}{% if add_generation_prompt %}[assistant]\n\n{% endif %}",
        "test"));
    for (const std::string& name : ruler_task_names()) {
      const auto task = bundled_task(name, options);
      expect_exact(*task, bundled_tokenizer(), 5001, 0);
      const RulerSample sample = task->sample(5001, 0);
      EXPECT_FALSE(sample.begin.has_value());
      EXPECT_EQ(sample.prompt.tokens.front(), kBos);
      EXPECT_TRUE(sample.text.starts_with("<|begin_of_text|>[user]\n")) << name;
      // The answer's first words stand behind the assistant's header: what the template renders is in the text.
      const std::size_t header = sample.text.rfind("<|pad|>[assistant]\n\n");
      ASSERT_NE(header, std::string::npos);
      const std::size_t turn = std::string("<|begin_of_text|>[user]\n").size();
      const std::string user = sample.text.substr(turn, header - turn);
      EXPECT_TRUE(
          sample.text.starts_with(options.chat->render({{.role = "user", .content = user}}, true)));
      EXPECT_NE(sample.text[header + std::string("<|pad|>[assistant]\n\n").size()], ' ');
    }
  }
}

TEST(RulerLength, OtherTokenizers) {
  // Tiny vocabularies with the split patterns of GPT-2, Llama 3, Qwen 2 and another: words are many tokens each.
  for (const char* const file : {"gpt2", "llama3", "qwen2", "other_pattern"}) {
    const Json golden =
        read_json_file(kSource / "tests" / "golden" / "tokenizer" / (std::string(file) + ".json"));
    const Tokenizer tokenizer = Tokenizer::parse(golden["tokenizer"].dump(), file);
    for (const std::string& name : ruler_task_names()) {
      RulerOptions options = some_options();
      const auto task = make_ruler_task(name, tokenizer, std::nullopt, made_up_text(), options);
      for (const std::int64_t context : {12000, 12345}) expect_exact(*task, tokenizer, context, 1);
    }
  }
}

TEST(RulerLength, TextThatRunsOut) {
  const auto task = make_ruler_task("niah_single_2", bundled_tokenizer(), kBos,
                                    ruler_text("A few words. No more than that."), some_options());
  const std::string message = message_of<std::invalid_argument>([&] { task->sample(4096, 0); });
  EXPECT_NE(message.find("its 7 words"), std::string::npos) << message;
  EXPECT_NE(message.find("give more"), std::string::npos) << message;
}

}  // namespace
}  // namespace seer
