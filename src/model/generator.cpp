#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "model/stop_strings.h"
#include "model/token_ids.h"
#include "seer/generate.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check_options(const GenerateOptions& options, bool has_tokenizer) {
  if (options.max_new_tokens < 1) {
    throw std::invalid_argument(
        fmt::format("max new tokens: expected at least 1, got {}", options.max_new_tokens));
  }
  if (options.prefill_chunk.value_or(1) < 1) {
    throw std::invalid_argument(
        fmt::format("prefill chunk: expected at least 1, got {}", *options.prefill_chunk));
  }
  if (!options.stop.empty() && !has_tokenizer) {
    throw std::invalid_argument("stop: stop strings need the model's tokenizer");
  }
}

bool stop_asked(const GenerateCallbacks& callbacks) {
  return callbacks.should_stop && callbacks.should_stop();
}

// Turns tokens into final text.
class TextStream {
 public:
  TextStream(const Tokenizer* tokenizer, const GenerateOptions& options,
             const GenerateCallbacks& callbacks, std::string& text)
      : stop_(options.stop), on_text_(callbacks.on_text), text_(text) {
    if (tokenizer != nullptr) decoder_.emplace(*tokenizer);
  }

  void push(TokenId token) {
    if (decoder_) emit(stop_.push(decoder_->push(token)));
  }

  void finish() {
    if (!decoder_ || stop_.found()) return;
    emit(stop_.push(decoder_->finish()));
    emit(stop_.finish());
  }

  bool stopped() const { return stop_.found(); }

 private:
  void emit(const std::string& piece) {
    if (piece.empty()) return;
    text_ += piece;
    if (on_text_) on_text_(piece);
  }

  std::optional<StreamingDecoder> decoder_;
  StopStrings stop_;
  const std::function<void(std::string_view)>& on_text_;
  std::string& text_;
};

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken: return "end";
    case FinishReason::kStopString: return "stop";
    case FinishReason::kMaxNewTokens: return "length";
    case FinishReason::kContextFull: return "context";
    case FinishReason::kInterrupted: return "interrupted";
  }
  return "unknown";
}

Generator::Generator(const Model& model, const Tokenizer* tokenizer, Attention* attention)
    : model_(model), tokenizer_(tokenizer), attention_(attention) {}

std::vector<float> Generator::step(std::span<const TokenId> tokens) {
  const at::Tensor hidden = model_.forward(token_row(tokens), *cache_, attention_);
  cached_.insert(cached_.end(), tokens.begin(), tokens.end());
  const at::Tensor logits = model_.logits(hidden[0][-1]).cpu().contiguous();
  const auto* const data = logits.const_data_ptr<float>();
  return std::vector<float>(data, data + logits.numel());
}

std::optional<std::vector<float>> Generator::prefill(std::span<const TokenId> tokens,
                                                     std::int64_t capacity,
                                                     const GenerateOptions& options,
                                                     const GenerateCallbacks& callbacks,
                                                     Generated& result) {
  if (!cache_) cache_.emplace(model_.config(), 1, capacity, model_.options().tensors());
  // The last token is always run: its logits are wanted.
  const std::size_t most = std::min(cached_.size(), tokens.size() - 1);
  std::size_t shared = 0;
  while (shared < most && cached_[shared] == tokens[shared]) ++shared;
  if (attention_ != nullptr) {
    const auto multiple = static_cast<std::size_t>(attention_->past_multiple());
    shared = shared / multiple * multiple;
    attention_->begin(static_cast<std::int64_t>(shared), static_cast<std::int64_t>(tokens.size()));
  }
  cached_.resize(shared);
  cache_->truncate(static_cast<std::int64_t>(shared));
  result.reused_tokens = static_cast<std::int64_t>(shared);
  // Twice as much as there was: a conversation goes on.
  if (cache_->capacity() < capacity) {
    cache_->reserve(
        std::max(capacity, std::min(2 * cache_->capacity(), model_.config().max_positions)));
  }

  const auto chunk = static_cast<std::size_t>(model_.prefill_chunk(
      static_cast<std::int64_t>(tokens.size() - shared), options.prefill_chunk, attention_));
  for (std::size_t first = shared; first < tokens.size(); first += chunk) {
    if (stop_asked(callbacks)) return std::nullopt;
    const std::span<const TokenId> part =
        tokens.subspan(first, std::min(chunk, tokens.size() - first));
    if (first + part.size() == tokens.size()) return step(part);
    model_.forward(token_row(part), *cache_, attention_);
    cached_.insert(cached_.end(), part.begin(), part.end());
  }
  return std::nullopt;  // not reached: there is a last token
}

Generated Generator::run(std::span<const TokenId> prompt, const GenerateOptions& options,
                         const GenerateCallbacks& callbacks) {
  const c10::InferenceMode inference;
  const ModelConfig& config = model_.config();
  check_options(options, tokenizer_ != nullptr);
  Sampler sampler(options.sampling);
  check_token_ids(prompt, config);

  Generated result;
  TextStream text(tokenizer_, options, callbacks, result.text);
  result.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  const std::int64_t room = config.max_positions - result.prompt_tokens;
  // The last new token is not run through the model, so that one more than `room` can be made.
  const std::int64_t most = std::min(options.max_new_tokens, room + 1);
  result.finish =
      most < options.max_new_tokens ? FinishReason::kContextFull : FinishReason::kMaxNewTokens;

  const Clock::time_point start = Clock::now();
  std::optional<std::vector<float>> logits =
      prefill(prompt, result.prompt_tokens + most - 1, options, callbacks, result);
  if (!logits) {
    result.finish = FinishReason::kInterrupted;
    return result;
  }
  std::vector<TokenId> context(prompt.begin(), prompt.end());
  Clock::time_point first_token = start;
  for (;;) {
    const TokenId token = sampler.pick(*logits, context);
    if (result.tokens.empty()) {
      result.seconds_to_first_token = seconds_since(start);
      first_token = Clock::now();
    }
    context.push_back(token);
    result.tokens.push_back(token);
    result.decode_seconds = seconds_since(first_token);
    if (callbacks.on_token) callbacks.on_token(token);
    if (std::find(config.eos_tokens.begin(), config.eos_tokens.end(), token) !=
        config.eos_tokens.end()) {
      result.finish = FinishReason::kEndToken;
      break;
    }
    text.push(token);
    if (text.stopped()) {
      result.finish = FinishReason::kStopString;
      break;
    }
    if (static_cast<std::int64_t>(result.tokens.size()) == most) break;
    if (stop_asked(callbacks)) {
      result.finish = FinishReason::kInterrupted;
      break;
    }
    logits = step({&token, 1});
  }
  text.finish();
  // A stop string may have been completed by the very last bytes.
  if (text.stopped()) result.finish = FinishReason::kStopString;
  return result;
}

}  // namespace seer
