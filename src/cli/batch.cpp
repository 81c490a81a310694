#include "cli/batch.h"

#include <c10/util/Exception.h>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/request.h"
#include "cli/sparse_flags.h"
#include "seer/chat_template.h"
#include "seer/generate.h"
#include "seer/hub.h"
#include "seer/text_likelihood.h"

namespace seer::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct BatchFlags {
  ModelFlags model;
  SparseFlags sparse;
  std::optional<std::int64_t> max_length, prefix_token;
  bool no_special = false;
};

std::int64_t max_length_of(const BatchFlags& flags, const ModelConfig& config) {
  const std::int64_t length = flags.max_length.value_or(config.max_positions);
  if (length >= 1 && length <= config.max_positions) return length;
  throw std::invalid_argument("--max-length " + std::to_string(length) + ": expected 1 to " +
                              std::to_string(config.max_positions) +
                              " (max_position_embeddings in config.json)");
}

TokenId prefix_of(const BatchFlags& flags, const ModelConfig& config) {
  if (flags.prefix_token) {
    if (*flags.prefix_token >= 0 && *flags.prefix_token < config.vocab_size) {
      return *flags.prefix_token;
    }
    throw std::invalid_argument("--prefix-token " + std::to_string(*flags.prefix_token) +
                                ": expected an id from 0 to " +
                                std::to_string(config.vocab_size - 1));
  }
  if (config.bos_token) return *config.bos_token;
  if (!config.eos_tokens.empty()) return config.eos_tokens.front();
  throw std::runtime_error(
      "config.json: neither bos_token_id nor eos_token_id is there to predict a text's first "
      "token from; name one by --prefix-token");
}

// The text up to the end of the last message's content: that message is to be continued.
std::string without_last_end(const std::string& text, const std::string& content) {
  constexpr const char* kBlank = " \t\n\v\f\r";
  const std::size_t first = content.find_first_not_of(kBlank);
  if (first == std::string::npos) return text;
  const std::size_t end = content.find_last_not_of(kBlank) + 1;
  const std::size_t place = text.rfind(content.substr(first, end - first));
  if (place == std::string::npos) {
    throw std::runtime_error(
        "continue_final_message: the chat template does not write the last message's content");
  }
  // The blanks behind it too, where the template keeps them.
  const std::string whole = content.substr(first);
  const bool kept = text.compare(place, whole.size(), whole) == 0;
  return text.substr(0, place + (kept ? whole.size() : end - first));
}

// Answers requests with what was loaded once.
class Batch {
 public:
  Batch(const BatchFlags& flags, std::filesystem::path folder, const ModelConfig& config)
      : folder_(std::move(folder)),
        sparse_(flags.sparse, config, device_of(flags.model.device)),
        prefill_chunk_(flags.model.prefill_chunk) {
    options_.max_length = max_length_of(flags, config);
    options_.prefix = prefix_of(flags, config);
    options_.add_special_tokens = !flags.no_special;
    options_.score.prefill_chunk = prefill_chunk_;
    options_.score.between_chunks = throw_if_interrupted;
    options_.score.attention = sparse_.attention();
    // Ids suffice without one.
    if (std::filesystem::exists(folder_ / "tokenizer.json")) tokenizer_ = Tokenizer::load(folder_);
    model_ = std::make_unique<Model>(load_model(flags.model, config, Checkpoint::open(folder_)));
  }

  // Throws Interrupted; all else is an answer.
  OrderedJson answer(const std::string& line, std::int64_t number) {
    OrderedJson reply = {{"id", nullptr}};
    try {
      const nlohmann::json object = parse(line, number);
      if (object.contains("id")) reply["id"] = object["id"];
      if (sparse_.attention() != nullptr) sparse_.attention()->reset_counts();
      reply.update(answer(object));
    } catch (const Interrupted&) {
      throw;
    } catch (const c10::Error& error) {
      reply["error"] = error.what_without_backtrace();
    } catch (const std::exception& error) {
      reply["error"] = error.what();
    }
    return reply;
  }

 private:
  static nlohmann::json parse(const std::string& line, std::int64_t number) {
    const std::string place = "line " + std::to_string(number) + ": ";
    nlohmann::json object;
    try {
      object = nlohmann::json::parse(line);
    } catch (const nlohmann::json::parse_error& error) {
      throw std::runtime_error(place + "expected a request in JSON: " + error.what());
    }
    if (!object.is_object()) throw std::runtime_error(place + "expected a JSON object");
    return object;
  }

  OrderedJson answer(const nlohmann::json& object) {
    const Request request(object);
    const std::string kind = request.text("kind");
    if (kind == "info") return info(request);
    if (kind == "loglikelihood") return loglikelihood(request);
    if (kind == "loglikelihood_rolling") return rolling(request);
    if (kind == "generate") return generate(request);
    if (kind == "chat") return chat(request);
    throw std::invalid_argument(
        "kind: expected info, loglikelihood, loglikelihood_rolling, generate or chat, got " +
        object["kind"].dump(-1, ' ', /*ensure_ascii=*/true));
  }

  const Tokenizer& tokenizer() const {
    if (tokenizer_) return *tokenizer_;
    throw std::runtime_error("text: " + folder_.string() +
                             " has no tokenizer.json; requests with tokens need none");
  }

  void add_density(OrderedJson& reply) const {
    const SparseAttention* const attention = sparse_.attention();
    reply["density"] = attention == nullptr ? 1.0 : attention->total_count().density();
  }

  OrderedJson info(const Request& request) const {
    request.expect_only("info", {});
    OrderedJson reply;
    reply["model"] = model_->config().name;
    reply["policy"] = sparse_.attention() == nullptr ? "dense" : sparse_.attention()->policy();
    reply["max_length"] = options_.max_length;
    reply["prefix_token"] = options_.prefix;
    reply["version"] = SEER_VERSION;
    return reply;
  }

  OrderedJson loglikelihood(const Request& request) const {
    std::pair<std::vector<TokenId>, std::vector<TokenId>> parts;
    if (request.has("context_tokens") || request.has("continuation_tokens")) {
      request.expect_only("loglikelihood", {"context_tokens", "continuation_tokens"});
      parts = {request.tokens("context_tokens"), request.tokens("continuation_tokens")};
    } else {
      request.expect_only("loglikelihood",
                          {"context", "continuation", "context_tokens", "continuation_tokens"});
      const std::string context = request.text("context");
      parts = encode_continuation(tokenizer(), context, request.text("continuation"), options_);
    }
    const TextLikelihood result =
        continuation_likelihood(*model_, parts.first, parts.second, options_);
    OrderedJson reply;
    reply["logprob"] = result.logprob;
    reply["greedy"] = result.is_greedy;
    reply["tokens"] = result.tokens;
    add_density(reply);
    reply["truncated"] = result.truncated;
    return reply;
  }

  OrderedJson rolling(const Request& request) const {
    std::vector<TokenId> tokens;
    if (request.has("text_tokens")) {
      request.expect_only("loglikelihood_rolling", {"text_tokens"});
      tokens = request.tokens("text_tokens");
    } else {
      request.expect_only("loglikelihood_rolling", {"text", "text_tokens"});
      tokens = encode_context(tokenizer(), request.text("text"), options_);
    }
    const TextLikelihood result = rolling_likelihood(*model_, tokens, options_);
    OrderedJson reply;
    reply["logprob"] = result.logprob;
    reply["tokens"] = result.tokens;
    add_density(reply);
    return reply;
  }

  OrderedJson generate(const Request& request) const {
    request.expect_only(
        "generate", {"prompt", "prompt_tokens", "max_new_tokens", "stop", "temperature", "top_k",
                     "top_p", "min_p", "repetition_penalty", "seed"});
    if (request.has("prompt") && request.has("prompt_tokens")) {
      throw std::invalid_argument("expected either prompt or prompt_tokens");
    }
    GenerateOptions options;
    options.max_new_tokens = request.integer("max_new_tokens", options.max_new_tokens);
    options.stop = request.texts("stop");
    options.prefill_chunk = prefill_chunk_;
    SamplingOptions& sampling = options.sampling;
    sampling.temperature = request.number("temperature", sampling.temperature);
    sampling.top_k = request.integer("top_k", sampling.top_k);
    sampling.top_p = request.number("top_p", sampling.top_p);
    sampling.min_p = request.number("min_p", sampling.min_p);
    sampling.repetition_penalty = request.number("repetition_penalty", sampling.repetition_penalty);
    sampling.seed = static_cast<std::uint64_t>(request.integer("seed", 0));
    std::vector<TokenId> prompt =
        request.has("prompt_tokens")
            ? request.tokens("prompt_tokens")
            : encode_context(tokenizer(), request.text("prompt"), options_);
    const std::int64_t room = options_.max_length - options.max_new_tokens;
    if (room < 1) {
      throw std::invalid_argument("max_new_tokens: expected less than the maximum length of " +
                                  std::to_string(options_.max_length) + ", got " +
                                  std::to_string(options.max_new_tokens));
    }
    const std::int64_t excess = static_cast<std::int64_t>(prompt.size()) - room;
    if (excess > 0) prompt.erase(prompt.begin(), prompt.begin() + excess);

    // A new one each time: what other prompts left in its cache was chosen for their lengths.
    Generator generator(*model_, tokenizer_ ? &*tokenizer_ : nullptr, sparse_.attention());
    const Generated result =
        generator.run(prompt, options, {.on_text = {}, .on_token = {}, .should_stop = interrupted});
    if (result.finish == FinishReason::kInterrupted) throw Interrupted();
    OrderedJson reply;
    reply["text"] = result.text;
    reply["finish"] = finish_reason_name(result.finish);
    reply["tokens"] = result.tokens.size();
    reply["new_ids"] = result.tokens;
    add_density(reply);
    reply["truncated"] = excess > 0;
    return reply;
  }

  OrderedJson chat(const Request& request) {
    request.expect_only("chat", {"messages", "add_generation_prompt", "continue_final_message"});
    const std::vector<ChatMessage> messages = request.messages("messages");
    const bool continues = request.flag("continue_final_message", false);
    const bool prompts = request.flag("add_generation_prompt", !continues);
    if (continues && prompts) {
      throw std::invalid_argument(
          "expected either add_generation_prompt or continue_final_message");
    }
    if (!chat_) chat_ = ChatTemplate::load(folder_);
    std::string text = chat_->render(messages, prompts);
    if (continues) text = without_last_end(text, messages.back().content);
    return {{"text", text}};
  }

  const std::filesystem::path folder_;
  const Sparse sparse_;
  const std::optional<std::int64_t> prefill_chunk_;
  LikelihoodOptions options_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> chat_;  // once asked for
  std::unique_ptr<Model> model_;
};

int batch(const BatchFlags& flags) {
  check_model_flags(flags.model);
  const std::filesystem::path folder = resolve_model(flags.model.model);
  // First, since a folder without it is none of a model.
  const ModelConfig config = read_model_config(folder);
  Batch batch(flags, folder, config);
  watch_for_interrupt();
  std::string line;
  for (std::int64_t number = 1; std::getline(std::cin, line); ++number) {
    throw_if_interrupted();
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const OrderedJson reply = batch.answer(line, number);
    // Bytes that are no UTF-8 can only come from ids that end inside a character.
    std::cout << reply.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
    if (!std::cout) throw std::runtime_error("cannot write the answers to standard output");
  }
  return interrupted() ? kExitInterrupted : kExitDone;
}

}  // namespace

void add_batch(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "batch",
      "Answer requests, JSON Lines on standard input, for likelihoods and continuations: a JSON "
      "line each on standard output");
  auto flags = std::make_shared<BatchFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_flags(*command, flags->model);
  add_sparse_flags(*command, flags->sparse);
  const CLI::Validator integer = number<std::int64_t>("an integer");
  command
      ->add_option("--max-length", flags->max_length,
                   "Tokens of a request; longer contexts are cut on the left (default: the "
                   "model's maximum)")
      ->check(integer);
  command
      ->add_option("--prefix-token", flags->prefix_token,
                   "Id of the token that a text's first token is predicted from (default: the "
                   "model's begin-of-text, else its end-of-text)")
      ->check(integer);
  command->add_flag("--no-special", flags->no_special,
                    "Put no special tokens, such as begin-of-text, around text");
  command->callback([&action, flags] { action = [flags] { return batch(*flags); }; });
}

}  // namespace seer::cli
