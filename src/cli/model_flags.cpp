#include "cli/model_flags.h"

#include <ATen/Parallel.h>

#include <filesystem>
#include <stdexcept>

#include "cli/flag_checks.h"

namespace seer::cli {
namespace {

// Far more than processors have; the OpenMP runtime crashes where the system gives it no more threads.
constexpr int kMaxThreads = 1024;

at::ScalarType dtype_of(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  throw std::invalid_argument("--dtype '" + name + "': expected float32 or bfloat16");
}

AttentionBackend attention_of(const std::string& name) {
  if (name == "seer") return AttentionBackend::kSeer;
  if (name == "sdpa") return AttentionBackend::kSdpa;
  throw std::invalid_argument("--attention '" + name + "': expected seer or sdpa");
}

}  // namespace

void add_model_option(CLI::App& command, std::string& model) {
  command
      .add_option("-m,--model", model,
                  "Model folder in Hugging Face layout, or org/name of a model in the cache")
      ->required();
}

void add_model_flags(CLI::App& command, ModelFlags& flags) {
  const CLI::Validator integer = number<std::int64_t>("an integer");
  add_model_option(command, flags.model);
  command.add_option("--dtype", flags.dtype, "Of weights and activations: float32 or bfloat16")
      ->capture_default_str();
  command
      .add_option("--attention", flags.attention,
                  "seer (the project's operator) or sdpa (LibTorch's)")
      ->capture_default_str();
  command
      .add_option("--prefill-chunk", flags.prefill_chunk,
                  "Tokens of a prompt that run through the model at once")
      ->capture_default_str()
      ->check(integer);
  command.add_option("--threads", flags.threads, "Threads (default: as LibTorch chooses)")
      ->check(integer);
}

void check_model_flags(const ModelFlags& flags) {
  dtype_of(flags.dtype);
  attention_of(flags.attention);
  if (flags.prefill_chunk < 1) {
    throw std::invalid_argument("--prefill-chunk " + std::to_string(flags.prefill_chunk) +
                                ": expected at least 1");
  }
  if (flags.threads.value_or(1) < 1 || flags.threads.value_or(1) > kMaxThreads) {
    throw std::invalid_argument("--threads " + std::to_string(*flags.threads) + ": expected 1 to " +
                                std::to_string(kMaxThreads));
  }
}

Model load_model(const ModelFlags& flags, const ModelConfig& config, const Checkpoint& checkpoint,
                 bool stream_layers) {
  check_model_flags(flags);
  if (flags.threads) at::set_num_threads(*flags.threads);
  return Model(config, checkpoint,
               {.dtype = dtype_of(flags.dtype),
                .attention = attention_of(flags.attention),
                .stream_layers = stream_layers});
}

std::vector<TokenId> encode_text(const Tokenizer& tokenizer, const std::string& text,
                                 const std::string& source, bool add_special_tokens) {
  try {
    return tokenizer.encode(text, add_special_tokens);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(source + ": " + error.what());
  }
}

}  // namespace seer::cli
