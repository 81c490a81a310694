#include "cli/generate.h"

#include "seer/generate.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/sparse_flags.h"
#include "seer/chat_template.h"
#include "seer/hub.h"
#include "seer/text_file.h"
#include "seer/token_file.h"

namespace seer::cli {
namespace {

struct GenerateFlags {
  ModelFlags model;
  SparseFlags sparse;
  std::optional<std::string> prompt;
  std::string prompt_file, tokens, system;
  GenerateOptions options;
  bool chat = false;
  bool json = false;
};

void check_flags(const GenerateFlags& flags) {
  const int prompts =
      int{flags.prompt.has_value()} + int{!flags.prompt_file.empty()} + int{!flags.tokens.empty()};
  if (prompts > 1 || (prompts == 0 && !flags.chat)) {
    throw std::invalid_argument(
        "generate: expected one of --prompt, --prompt-file, --tokens; or --chat");
  }
  if (flags.chat && !flags.tokens.empty()) {
    throw std::invalid_argument("generate: --chat takes text, not --tokens");
  }
  if (!flags.chat && !flags.system.empty()) {
    throw std::invalid_argument("generate: --system is part of a conversation: add --chat");
  }
  const SamplingOptions& sampling = flags.options.sampling;
  if (sampling.temperature == 0 &&
      (sampling.top_k != 0 || sampling.top_p != 1 || sampling.min_p != 0)) {
    throw std::invalid_argument(
        "generate: --top-k, --top-p and --min-p choose among sampled tokens: add --temperature 1, "
        "say");
  }
}

// The model folder's tokenizer; absent where there is none and ids suffice.
std::optional<Tokenizer> tokenizer_for(const GenerateFlags& flags,
                                       const std::filesystem::path& folder) {
  if (!flags.tokens.empty() && !std::filesystem::exists(folder / "tokenizer.json")) {
    return std::nullopt;
  }
  return Tokenizer::load(folder);
}

void print_speed(const Generated& result) {
  std::fprintf(stderr, "seer: %lld prompt tokens", static_cast<long long>(result.prompt_tokens));
  if (result.reused_tokens > 0) {
    std::fprintf(stderr, " (%lld in the cache already)",
                 static_cast<long long>(result.reused_tokens));
  }
  if (!result.tokens.empty()) {
    std::fprintf(stderr, ", first token after %.3f s", result.seconds_to_first_token);
  }
  if (result.tokens.size() > 1) {
    std::fprintf(stderr, "; %zu new tokens, %.1f tokens/s", result.tokens.size(),
                 static_cast<double>(result.tokens.size() - 1) / result.decode_seconds);
  }
  std::fputc('\n', stderr);
  if (result.finish == FinishReason::kContextFull) {
    std::fputs(
        "seer: stopped: the model's context is full (max_position_embeddings in config.json)\n",
        stderr);
  }
}

void print_json(const Generated& result, const Sparse& sparse) {
  nlohmann::ordered_json line;
  line["text"] = result.text;
  line["new_ids"] = result.tokens;
  line["finish"] = finish_reason_name(result.finish);
  line["prompt_tokens"] = result.prompt_tokens;
  line["reused_tokens"] = result.reused_tokens;
  line["seconds_to_first_token"] = result.seconds_to_first_token;
  line["tokens_per_second"] = nullptr;
  if (result.tokens.size() > 1) {
    line["tokens_per_second"] =
        static_cast<double>(result.tokens.size() - 1) / result.decode_seconds;
  }
  sparse.add_to(line);
  // Bytes that are no UTF-8 can only come from ids that end inside a character.
  std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

// One continuation, streamed to standard output (ids where there is no tokenizer).
Generated generate_once(Generator& generator, const std::vector<TokenId>& prompt,
                        const GenerateFlags& flags, const Sparse& sparse, bool as_text) {
  GenerateCallbacks callbacks{.on_text = {}, .on_token = {}, .should_stop = [] {
                                return interrupted() || !std::cout;  // a full disk, say
                              }};
  if (!flags.json && as_text) {
    callbacks.on_text = [](std::string_view text) { std::cout << text << std::flush; };
  } else if (!flags.json) {
    callbacks.on_token = [](TokenId token) { std::cout << token << ' ' << std::flush; };
  }
  const Generated result = generator.run(prompt, flags.options, callbacks);
  if (flags.json) {
    print_json(result, sparse);
  } else {
    std::cout << std::endl;
  }
  print_speed(result);
  sparse.report();
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return result;
}

// A line of standard input; none at its end and after Ctrl-C.
std::optional<std::string> next_line() {
  if (isatty(STDIN_FILENO) != 0) std::cerr << "> " << std::flush;
  std::string line;
  if (!std::getline(std::cin, line) || interrupted()) return std::nullopt;
  return line;
}

int converse(Generator& generator, const Tokenizer& tokenizer, const ChatTemplate& chat,
             const GenerateFlags& flags, const Sparse& sparse,
             std::optional<std::string> only_prompt) {
  std::vector<ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({.role = "system", .content = flags.system});
  const bool once = only_prompt.has_value();
  for (;;) {
    const std::optional<std::string> line = once ? only_prompt : next_line();
    if (!line) break;
    if (line->empty() && !once) continue;
    messages.push_back({.role = "user", .content = *line});
    const std::string text = chat.render(messages, /*add_generation_prompt=*/true);
    const Generated answer = generate_once(
        generator, tokenizer.encode(text, /*add_special_tokens=*/false), flags, sparse,
        /*as_text=*/true);
    messages.push_back({.role = "assistant", .content = answer.text});
    if (once || answer.finish == FinishReason::kInterrupted) break;
  }
  return interrupted() ? kExitInterrupted : kExitDone;
}

int generate(const GenerateFlags& flags) {
  check_flags(flags);
  check_model_flags(flags.model);
  const Sampler checks_options(flags.options.sampling);
  std::optional<std::string> prompt = flags.prompt;
  if (!flags.prompt_file.empty()) prompt = read_text_file(flags.prompt_file);
  std::vector<std::vector<TokenId>> prompts;
  if (!flags.tokens.empty()) prompts = read_token_file(flags.tokens);

  const std::filesystem::path folder = resolve_model(flags.model.model);
  // First, since a folder without it is none of a model.
  const ModelConfig config = read_model_config(folder);
  const std::optional<Tokenizer> tokenizer = tokenizer_for(flags, folder);
  // Before the weights, which may take minutes to load.
  std::optional<ChatTemplate> chat;
  if (flags.chat) chat = ChatTemplate::load(folder);
  const Sparse sparse(flags.sparse, config, device_of(flags.model.device),
                      flags.options.sampling.seed);
  const Model model = load_model(flags.model, config, Checkpoint::open(folder));
  watch_for_interrupt();
  Generator generator(model, tokenizer ? &*tokenizer : nullptr, sparse.attention());
  if (chat) return converse(generator, *tokenizer, *chat, flags, sparse, prompt);
  if (prompt) {
    const std::string source = flags.prompt_file.empty() ? "--prompt" : flags.prompt_file;
    prompts = {encode_text(*tokenizer, *prompt, source)};
  }
  for (const std::vector<TokenId>& tokens : prompts) {
    generate_once(generator, tokens, flags, sparse, tokenizer.has_value());
    if (interrupted()) return kExitInterrupted;
  }
  return kExitDone;
}

void add_sampling_flags(CLI::App& command, SamplingOptions& sampling) {
  const CLI::Validator real = number<double>("a number");
  command
      .add_option("--temperature", sampling.temperature, "0: the likeliest token; above: sampled")
      ->capture_default_str()
      ->check(real);
  command.add_option("--top-k", sampling.top_k, "Sample from the k likeliest tokens (0: all)")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command
      .add_option("--top-p", sampling.top_p,
                  "Sample from the fewest tokens whose probabilities reach this")
      ->capture_default_str()
      ->check(real);
  command
      .add_option("--min-p", sampling.min_p,
                  "Sample from tokens with at least this share of the highest probability")
      ->capture_default_str()
      ->check(real);
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "Above 1: tokens in the context become less likely")
      ->capture_default_str()
      ->check(real);
  command.add_option("--seed", sampling.seed, "Seed of the sampling")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
}

}  // namespace

void add_generate(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt, or hold a conversation");
  auto flags = std::make_shared<GenerateFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_flags(*command, flags->model);
  add_sparse_flags(*command, flags->sparse);
  command->add_option("--prompt", flags->prompt, "Text to continue");
  command->add_option("--prompt-file", flags->prompt_file, "File with the text to continue");
  command->add_option(
      "--tokens", flags->tokens,
      "JSON file: a list of ids, a list of such lists, or an object with input_ids");
  command->add_flag("--chat", flags->chat,
                    "Conversation: each line of standard input is a message (with --prompt: one)");
  command->add_option("--system", flags->system, "System message of the conversation");
  command->add_option("--max-new-tokens", flags->options.max_new_tokens, "Tokens to add at most")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command
      ->add_option("--stop", flags->options.stop,
                   "End before this text; may be given several times")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  add_sampling_flags(*command, flags->options.sampling);
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  command->callback([&action, flags] {
    flags->options.prefill_chunk = flags->model.prefill_chunk;
    action = [flags] { return generate(*flags); };
  });
}

}  // namespace seer::cli
