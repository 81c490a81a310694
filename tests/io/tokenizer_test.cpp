#include "seer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"

namespace seer {
namespace {

std::filesystem::path golden_file(const std::string& name) {
  return std::filesystem::path(SEER_SOURCE_DIR) / "tests" / "golden" / "tokenizer" /
         (name + ".json");
}

Tokenizer golden_tokenizer(const std::string& name) {
  return Tokenizer::parse(read_json_file(golden_file(name))["tokenizer"].dump(), name);
}

class GoldenTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, GivesTheSameIdsAndText) {
  const Json golden = read_json_file(golden_file(GetParam()));
  const Tokenizer tokenizer = Tokenizer::parse(golden["tokenizer"].dump(), GetParam());
  for (int round = 0; round < 2; ++round) {  // the second finds the pieces in the cache
    for (const Json& expected : golden["cases"]) {
      const auto text = expected["text"].get<std::string>();
      const auto ids = tokenizer.encode(text);
      EXPECT_EQ(ids, expected["ids"].get<std::vector<TokenId>>()) << expected["text"];
      EXPECT_EQ(tokenizer.encode(text, false),
                expected["ids_without_special"].get<std::vector<TokenId>>())
          << expected["text"];
      EXPECT_EQ(tokenizer.decode(ids, true), expected["decoded"].get<std::string>())
          << expected["text"];
    }
  }
}

TEST_P(GoldenTokenizer, StreamsWholeCharacters) {
  const Json golden = read_json_file(golden_file(GetParam()));
  const Tokenizer tokenizer = Tokenizer::parse(golden["tokenizer"].dump(), GetParam());
  for (const Json& expected : golden["cases"]) {
    const auto ids = expected["ids"].get<std::vector<TokenId>>();
    StreamingDecoder decoder(tokenizer);
    std::string streamed;
    for (const TokenId id : ids) {
      const std::string text = decoder.push(id);
      EXPECT_NO_THROW(tokenizer.encode(text)) << "half a character";
      streamed += text;
    }
    streamed += decoder.finish();
    EXPECT_EQ(streamed, tokenizer.decode(ids, true)) << expected["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTokenizer,
                         testing::Values("llama3", "qwen2", "gpt2", "added_tokens", "other_pattern",
                                         "unknown_bytes"));

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer tokenizer = golden_tokenizer("llama3");
  const auto bos = tokenizer.token_to_id("<s>");
  ASSERT_TRUE(bos);
  EXPECT_TRUE(tokenizer.is_special(*bos));
  EXPECT_EQ(tokenizer.id_to_token(*bos), "<s>");
  EXPECT_EQ(tokenizer.vocab_size(), static_cast<std::size_t>(*tokenizer.token_to_id("</s>")) + 1);
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.token_to_id("no such token"));
  for (const TokenId id :
       {TokenId{-1}, TokenId{1} << 40, static_cast<TokenId>(tokenizer.vocab_size())}) {
    EXPECT_FALSE(tokenizer.id_to_token(id));
    EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{id}), "");
  }
}

TEST(Tokenizer, RefusesInvalidUtf8WithItsPlace) {
  const Tokenizer tokenizer = golden_tokenizer("gpt2");
  const std::pair<std::string, std::string> cases[] = {
      {"abc\xFF", "3"},  {"\x80", "0"},          {"12345678\xC3(", "8"},
      {"\xC0\xAF", "0"}, {"a\xED\xA0\x80", "1"}, {"\xF4\x90\x80\x80", "0"},
      {"\xE2\x82", "0"},
  };
  for (const auto& [text, place] : cases) {
    try {
      tokenizer.encode(text);
      ADD_FAILURE() << "accepted";
    } catch (const std::runtime_error& error) {
      EXPECT_NE(std::string(error.what()).find("not valid UTF-8 at byte " + place),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(Tokenizer, ReplacesInvalidBytesWhenDecoding) {
  const Tokenizer tokenizer = golden_tokenizer("gpt2");
  const auto euro =
      tokenizer.encode("\xF0\x9F\x98\x80", false);  // split into bytes by so small a vocabulary
  ASSERT_GT(euro.size(), 1u);
  const std::vector<TokenId> half(euro.begin(), euro.end() - 1);
  EXPECT_EQ(tokenizer.decode(half), "\xEF\xBF\xBD");
  StreamingDecoder decoder(tokenizer);
  std::string streamed;
  for (const TokenId id : half) streamed += decoder.push(id);
  EXPECT_EQ(streamed, "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.finish(), "");
}

// The scanners against the general path: the same pattern in a group is no known one, and PCRE2 runs it.
TEST(Tokenizer, ScannersAgreeWithTheRegexEngine) {
  for (const char* name : {"llama3", "qwen2"}) {
    Json json = read_json_file(golden_file(name))["tokenizer"];
    const Tokenizer scanner = Tokenizer::parse(json.dump(), name);
    Json& pattern = json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
    pattern = "(?:" + pattern.get<std::string>() + ")";
    const Tokenizer regex = Tokenizer::parse(json.dump(), name);
    std::string text;
    for (char32_t c = 1; c < 0x110000; c += c < 0x3400 ? 1 : 37) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string character;
      if (c < 0x80) {
        character = {static_cast<char>(c)};
      } else if (c < 0x800) {
        character = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
      } else if (c < 0x10000) {
        character = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                     static_cast<char>(0x80 | (c & 0x3F))};
      } else {
        character = {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
                     static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                     static_cast<char>(0x80 | (c & 0x3F))};
      }
      text +=
          "x" + character + "y " + character + "'" + character + character + "\n" + character + "7";
    }
    EXPECT_EQ(scanner.encode(text), regex.encode(text)) << name;
  }
}

TEST(Tokenizer, LongRunsTakeLittleTime) {
  for (const char* name : {"llama3", "qwen2", "gpt2", "other_pattern"}) {
    const Tokenizer tokenizer = golden_tokenizer(name);
    std::string marks;
    for (int i = 0; i < 100'000; ++i) marks += "\xCC\x81\xCC\xA3";  // two marks in the wrong order
    for (const std::string& text :
         {std::string(1'000'000, 'a'), std::string(1'000'000, ' '), std::string(1'000'000, '\n'),
          std::string(1'000'000, '7'), "a" + marks}) {
      const auto start = std::chrono::steady_clock::now();
      const auto ids = tokenizer.encode(text, false);
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      EXPECT_LT(seconds, 30) << name << ": "
                             << text.substr(0, 3);  // quadratic time would be minutes
      if (std::string(name) != "qwen2") {           // whose NFC changes the marks
        EXPECT_EQ(tokenizer.decode(ids), text);
      }
    }
  }
}

TEST(Tokenizer, ThreadsShareOne) {
  const Tokenizer tokenizer = golden_tokenizer("other_pattern");
  const Json golden = read_json_file(golden_file("other_pattern"))["cases"];
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) {
        for (const Json& expected : golden) {
          if (tokenizer.encode(expected["text"].get<std::string>()) !=
              expected["ids"].get<std::vector<TokenId>>()) {
            ++wrong[i];
          }
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

// --- What is refused -----------------------------------------------------------------------------

struct Refused {
  const char* name;
  const char* pointer;  // what is replaced in the golden file "llama3"
  const char* value;
  const char* message;
};

class RefusedTokenizer : public testing::TestWithParam<Refused> {};

TEST_P(RefusedTokenizer, SaysWhere) {
  Json json = read_json_file(golden_file("llama3"))["tokenizer"];
  json[Json::json_pointer(GetParam().pointer)] = Json::parse(GetParam().value);
  try {
    Tokenizer::parse(json.dump(), "folder/tokenizer.json");
    ADD_FAILURE() << "accepted";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("folder/tokenizer.json: ", 0), 0u) << error.what();
    EXPECT_NE(std::string(error.what()).find(GetParam().message), std::string::npos)
        << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, RefusedTokenizer,
    testing::Values(
        Refused{"model_type", "/model/type", R"("Unigram")",
                R"(model.type: "Unigram" is not supported (supported: BPE))"},
        Refused{"dropout", "/model/dropout", "0.1", "model.dropout: 0.1 is not supported"},
        Refused{"prefix", "/model/continuing_subword_prefix", R"("##")",
                "model.continuing_subword_prefix: "},
        Refused{"unk", "/model/unk_token", R"("<unk>")",
                "model.unk_token: the token \"<unk>\" is not in the vocabulary"},
        Refused{"empty_vocab", "/model/vocab", "{}", "model.vocab: the vocabulary is empty"},
        Refused{"id_type", "/model/vocab", R"({"a": "0"})", "model.vocab.a: expected an id"},
        Refused{"negative_id", "/model/vocab", R"({"a": -1})",
                "model.vocab.a: expected an id from 0"},
        Refused{"huge_id", "/model/vocab", R"({"a": 4294967295})", "got 4294967295"},
        Refused{"same_id", "/model/vocab", R"({"a": 0, "b": 0})", "the id 0 belongs to two tokens"},
        Refused{"merge_form", "/model/merges", R"(["a b c"])", "model.merges[0]: expected a merge"},
        Refused{"merge_token", "/model/merges", R"([["a", "no such"]])",
                "model.merges[0]: the token \"no such\""},
        Refused{"merge_result", "/model/merges", R"([["\u0100", "\u0100"]])",
                "model.merges[0]: the token"},
        Refused{"truncation", "/truncation", R"({"max_length": 4})",
                "truncation: an object is not supported"},
        Refused{"padding", "/padding", "true", "padding: true is not supported"},
        Refused{"version", "/version", R"("2.0")", "version: \"2.0\""},
        Refused{"field", "/surprise", "1", "surprise: this field is not known"},
        Refused{"normalizer", "/normalizer", R"({"type": "NFKC"})", R"(normalizer.type: "NFKC")"},
        Refused{"pretokenizer", "/pre_tokenizer", R"({"type": "Metaspace"})",
                R"(pre_tokenizer.type: "Metaspace")"},
        Refused{"no_byte_level", "/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": []})",
                "without ByteLevel"},
        Refused{"behavior", "/pre_tokenizer/pretokenizers/0/behavior", R"("Glued")",
                R"(pre_tokenizer.pretokenizers[0].behavior: "Glued")"},
        Refused{"regex", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"("(a")",
                "pattern.Regex: \"(a\": missing"},
        Refused{"regex_class", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"("[a&&[b]]")",
                "intersection"},
        Refused{"decoder", "/decoder", R"({"type": "WordPiece"})", R"(decoder.type: "WordPiece")"},
        Refused{"no_decoder", "/decoder", "null", "decoder: null"},
        Refused{"processor", "/post_processor", R"({"type": "BertProcessing"})",
                R"(post_processor.type: "BertProcessing")"},
        Refused{"added_id", "/added_tokens/1/id", "9999",
                "added_tokens[1].id: the token \"</s>\" has the id 9999"},
        Refused{"added_twice", "/added_tokens/1/content", R"("<s>")",
                "added_tokens[1].content: the token \"<s>\""},
        Refused{"added_empty", "/added_tokens/0/content", R"("")", "must not be empty"}),
    [](const auto& test) { return test.param.name; });

TEST(Tokenizer, StopsPatternsThatExplode) {
  Json json = read_json_file(golden_file("llama3"))["tokenizer"];
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(?:a+)+[xyz]";
  const Tokenizer tokenizer = Tokenizer::parse(json.dump(), "file");
  EXPECT_THROW(tokenizer.encode(std::string(3000, 'a')), std::runtime_error);
}

TEST(Tokenizer, NamesTheMissingFile) {
  try {
    Tokenizer::load("no/such/folder");
    ADD_FAILURE() << "accepted";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("no/such/folder/tokenizer.json: no such file"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace seer
