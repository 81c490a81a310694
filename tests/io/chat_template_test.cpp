#include "seer/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "base/json.h"
#include "support/model_files.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

const fs::path kGolden = fs::path(SEER_SOURCE_DIR) / "tests" / "golden" / "chat_templates";

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in) << file;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string render(const std::string& text, const std::string& variables = "{}") {
  return ChatTemplate::parse(text, "test").render_json(variables);
}

std::string message_of(const std::string& text, const std::string& variables = "{}") {
  try {
    render(text, variables);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ChatTemplate, RendersTheGoldenCasesAsJinja) {
  const auto cases = OrderedJson::parse(read(kGolden / "cases.json"));
  ASSERT_GT(cases.size(), 100U);
  for (const auto& item : cases) {
    SCOPED_TRACE(item["name"].get<std::string>());
    const std::string text = item.contains("text")
                                 ? item["text"].get<std::string>()
                                 : read(kGolden / item["template"].get<std::string>());
    if (item.contains("error")) {
      EXPECT_NE(message_of(text, item["variables"].dump()).find(item["error"].get<std::string>()),
                std::string::npos);
      EXPECT_THROW(render(text, item["variables"].dump()), std::runtime_error);
    } else {
      EXPECT_EQ(render(text, item["variables"].dump()), item["output"].get<std::string>());
    }
  }
}

TEST(ChatTemplate, RendersMessages) {
  const auto chat = ChatTemplate::parse(
      "{% for m in messages %}<{{ m.role }}>{{ m['content'] }}\n{% endfor %}{{ 'A:' if "
      "add_generation_prompt }}"
      "{{ tools is none }}",
      "test");
  EXPECT_EQ(chat.render({{"user", "Grüße"}, {"assistant", ""}}, true),
            "<user>Grüße\n<assistant>\nA:True");
  EXPECT_EQ(chat.render({}, false), "True");
  EXPECT_THROW(chat.render({{"user", "\xff"}}, false), std::runtime_error);
}

TEST(ChatTemplate, NamesThePlaceAndTheConstruct) {
  EXPECT_EQ(message_of("a\n\n  {{ x | rot13 }}"),
            "test: line 3, column 10: the filter 'rot13' is not supported");
  EXPECT_EQ(message_of("ä{% macro m() %}{% endmacro %}").substr(0, 57),
            "test: line 1, column 5: the block 'macro' is not supporte");
  EXPECT_EQ(message_of("{{ 1 is prime }}"),
            "test: line 1, column 9: the test 'prime' is not supported");
  EXPECT_EQ(message_of("{{ 'a'.zfill(3) }}"),
            "test: line 1, column 7: the method 'zfill' of 'str' is not supported");
  EXPECT_EQ(message_of("{{ f(*a) }}"),
            "test: line 1, column 6: arguments by * and ** are not supported");
  EXPECT_EQ(message_of("{% if a %}\n{% for b in c %}\n{% endif %}"),
            "test: line 2, column 4: this 'for' is not closed: expected 'endfor', got 'endif'");
  EXPECT_EQ(message_of("x {{ raise_exception('no ' ~ 'way') }}"),
            "test: line 1, column 21: the template refuses these messages: no way");
  EXPECT_EQ(message_of("{{ nobody.name }}"), "test: line 1, column 10: 'nobody' is undefined");
}

TEST(ChatTemplate, LimitsWhatATemplateTakes) {
  std::string ones;
  for (int i = 0; i < 250; ++i) ones += "1+";
  EXPECT_NE(message_of("{% for a in range(99999) %}{% set b = " + ones + "1 %}{% endfor %}")
                .find("steps"),
            std::string::npos);
  EXPECT_NE(
      message_of(
          "{% set n = namespace(x='0123456789') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
          "{% endfor %}")
          .find("bytes of texts"),
      std::string::npos);
  EXPECT_NE(message_of("{% for i in range(99999) %}{{ s }}{% endfor %}",
                       R"({"s": ")" + std::string(4096, 'x') + "\"}")
                .find("writes more than"),
            std::string::npos);
  EXPECT_NE(
      message_of(
          "{% set n = namespace(x=[]) %}{% for i in range(999) %}{% set n.x = [n.x] %}{% endfor %}")
          .find("nested deeper"),
      std::string::npos);
  EXPECT_NE(message_of(std::string(std::size_t{2} << 20, 'x')).find("more than the limit"),
            std::string::npos);
}

TEST(ChatTemplate, TakesTheTimeFromItsClock) {
  auto chat = ChatTemplate::parse("{{ strftime_now('%d %b %Y %H:%M:%S %-d') }}", "test");
  chat.set_clock([] {
    std::tm time{};
    time.tm_year = 124;
    time.tm_mon = 6;
    time.tm_mday = 4;
    time.tm_hour = 13;
    return time;
  });
  EXPECT_EQ(chat.render({}, false), "04 Jul 2024 13:00:00 4");
}

TEST(ChatTemplate, LoadsFromAModelFolder) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(ChatTemplate::load(folder.path()), std::runtime_error);
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<b>", "eos_token": {"content": "<e>"}, "pad_token": null})");
  EXPECT_THROW(ChatTemplate::load(folder.path()), std::runtime_error);
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<b>", "eos_token": {"content": "<e>"}, "pad_token": null,
                   "chat_template": "{{ bos_token }}1{{ eos_token }}{{ pad_token is defined }}{{ unk_token }}"})");
  folder.write("special_tokens_map.json",
               R"({"bos_token": "no", "pad_token": "no", "unk_token": "<u>"})");
  EXPECT_EQ(ChatTemplate::load(folder.path()).render({}, false), "<b>1<e>False<u>");
  folder.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(ChatTemplate::load(folder.path()).render({}, false), "d");
  folder.write("tokenizer_config.json",
               R"({"chat_template": [{"name": "tool_use", "template": "t"}]})");
  EXPECT_THROW(ChatTemplate::load(folder.path()), std::runtime_error);
  folder.write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_THROW(ChatTemplate::load(folder.path()), std::runtime_error);
  folder.write("chat_template.jinja", "file\n{{ bos_token }}");
  folder.write("tokenizer_config.json", R"({"bos_token": "<b>", "chat_template": "config"})");
  EXPECT_EQ(ChatTemplate::load(folder.path()).render({}, false), "file\n<b>");
}

}  // namespace
}  // namespace seer
