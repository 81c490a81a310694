#include "cli/tokenize.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "seer/hub.h"
#include "seer/text_file.h"
#include "seer/tokenizer.h"

namespace seer::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  std::string text;
  std::string text_file;
  std::string ids;
  bool json = false;
  bool no_special = false;
  bool decode = false;
};

// Integers with commas, blanks or brackets between them, as this verb prints them.
std::vector<TokenId> parse_ids(std::string_view text) {
  std::vector<TokenId> ids;
  constexpr std::string_view kBetween = " \t\r\n,[]";
  for (std::size_t begin = text.find_first_not_of(kBetween); begin != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kBetween, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    TokenId id = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || rest != word.data() + word.size()) {
      throw std::invalid_argument("--ids: expected integers with commas between them, got '" +
                                  std::string(word.substr(0, 40)) + "'");
    }
    ids.push_back(id);
    begin = text.find_first_not_of(kBetween, end);
  }
  return ids;
}

int decode_ids(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  const std::vector<TokenId> ids = parse_ids(flags.ids);
  for (const TokenId id : ids) {
    if (!tokenizer.id_to_token(id)) {
      throw std::runtime_error("--ids: " + std::to_string(id) + " is no token of " + flags.model +
                               " (its ids are below " + std::to_string(tokenizer.vocab_size()) +
                               ")");
    }
  }
  const std::string text = tokenizer.decode(ids, flags.no_special);
  std::cout << (flags.json ? nlohmann::json{{"text", text}}.dump() : text) << '\n';
  return kExitDone;
}

int print_ids(const TokenizeFlags& flags, const Tokenizer& tokenizer, const std::string& source,
              const std::string& text) {
  const std::vector<TokenId> ids = encode_text(tokenizer, text, source, !flags.no_special);
  std::string line;
  for (const TokenId id : ids)
    line += (line.empty() ? "" : flags.json ? ", " : " ") + std::to_string(id);
  std::cout << (flags.json ? "{\"ids\": [" + line + "]}" : line) << '\n';
  return kExitDone;
}

int tokenize(const TokenizeFlags& flags, const CLI::App& command) {
  if (flags.decode != (command.count("--ids") > 0)) {
    throw std::invalid_argument(flags.decode ? "tokenize --decode: expected --ids"
                                             : "tokenize --ids: expected --decode");
  }
  if (flags.decode && (command.count("--text") > 0 || command.count("--text-file") > 0)) {
    throw std::invalid_argument("tokenize --decode: expected --ids and no text");
  }
  const Tokenizer tokenizer = Tokenizer::load(resolve_model(flags.model));
  int code = kExitDone;
  if (flags.decode) {
    code = decode_ids(flags, tokenizer);
  } else if (command.count("--text") > 0) {
    code = print_ids(flags, tokenizer, "--text", flags.text);
  } else if (command.count("--text-file") > 0) {
    code = print_ids(flags, tokenizer, flags.text_file, read_text_file(flags.text_file));
  } else {
    code =
        print_ids(flags, tokenizer, "standard input", read_text_stream(std::cin, "standard input"));
  }
  std::cout << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return code;
}

}  // namespace

void add_tokenize(CLI::App& app, std::function<int()>& action) {
  CLI::App* command =
      app.add_subcommand("tokenize", "The token ids of a text, or the text of token ids");
  command->footer("Without --text and --text-file the text is read from standard input.");
  auto flags = std::make_shared<TokenizeFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_option(*command, flags->model);
  auto* text = command->add_option("--text", flags->text, "The text");
  command->add_option("--text-file", flags->text_file, "A file with the text, UTF-8")
      ->excludes(text);
  command->add_flag("--decode", flags->decode, "Print the text of --ids");
  command->add_option("--ids", flags->ids, "Token ids, with commas or blanks between them");
  command->add_flag("--no-special", flags->no_special,
                    "Add no special tokens (BOS); with --decode, leave special tokens out");
  command->add_flag("--json", flags->json, "One line {\"ids\": [...]}, or {\"text\": ...}");
  command->callback([&action, flags, command] {
    action = [flags, command] { return tokenize(*flags, *command); };
  });
}

}  // namespace seer::cli
