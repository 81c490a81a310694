#include "cli/model_flags.h"

#include <ATen/Parallel.h>

#include <filesystem>
#include <stdexcept>

#include "cli/flag_checks.h"
#include "seer/device.h"

namespace seer::cli {
namespace {

// Far more than processors have; the OpenMP runtime crashes where the system gives it no more threads.
constexpr int kMaxThreads = 1024;

void check_threads(std::optional<int> threads) {
  if (threads.value_or(1) >= 1 && threads.value_or(1) <= kMaxThreads) return;
  throw std::invalid_argument("--threads " + std::to_string(*threads) + ": expected 1 to " +
                              std::to_string(kMaxThreads));
}

}  // namespace

AttentionBackend attention_of(const std::string& name) {
  if (name == "seer") return AttentionBackend::kSeer;
  if (name == "sdpa") return AttentionBackend::kSdpa;
  throw std::invalid_argument("--attention '" + name + "': expected seer or sdpa");
}

c10::Device device_of(const std::string& device) {
  try {
    return parse_device(device);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("--") + error.what());  // "device \"gpu\": ..."
  }
}

at::ScalarType dtype_of(const std::string& dtype, c10::Device device) {
  if (dtype.empty()) return device.is_cpu() ? at::kFloat : at::kBFloat16;
  if (dtype == "bfloat16") return at::kBFloat16;
  if (device.is_cpu()) {
    if (dtype == "float32") return at::kFloat;
    throw std::invalid_argument("--dtype '" + dtype + "': expected float32 or bfloat16" +
                                (dtype == "float16" ? " (float16 is for --device cuda)" : ""));
  }
  if (dtype == "float16") return at::kHalf;
  throw std::invalid_argument("--dtype '" + dtype +
                              "': expected bfloat16 or float16, which the kernels of a GPU take");
}

void add_device_flags(CLI::App& command, std::string& device, std::string& dtype) {
  command.add_option("--device", device, "cpu, cuda (the first GPU) or cuda:N")
      ->capture_default_str();
  command.add_option("--dtype", dtype,
                     "Of weights and activations: float32 (the CPU's default), bfloat16 (a GPU's) "
                     "or float16 (on a GPU)");
}

void add_threads_flag(CLI::App& command, std::optional<int>& threads) {
  command.add_option("--threads", threads, "Threads (default: as LibTorch chooses)")
      ->check(number<std::int64_t>("an integer"));
}

void set_threads(std::optional<int> threads) {
  check_threads(threads);
  if (threads) at::set_num_threads(*threads);
}

void add_model_option(CLI::App& command, std::string& model) {
  command
      .add_option("-m,--model", model,
                  "Model folder in Hugging Face layout, or org/name of a model in the cache")
      ->required();
}

void add_model_flags(CLI::App& command, ModelFlags& flags) {
  const CLI::Validator integer = number<std::int64_t>("an integer");
  add_model_option(command, flags.model);
  add_device_flags(command, flags.device, flags.dtype);
  command
      .add_option("--attention", flags.attention,
                  "seer (the project's operator) or sdpa (LibTorch's)")
      ->capture_default_str();
  command
      .add_option("--prefill-chunk", flags.prefill_chunk,
                  "Tokens of a prompt that run through the model at once (default: " +
                      std::to_string(kDefaultPrefillChunk) +
                      " on the CPU, all that have room on a GPU)")
      ->check(integer);
  add_threads_flag(command, flags.threads);
}

void check_model_flags(const ModelFlags& flags) {
  const c10::Device device = device_of(flags.device);
  dtype_of(flags.dtype, device);
  attention_of(flags.attention);
  if (flags.prefill_chunk.value_or(1) < 1) {
    throw std::invalid_argument("--prefill-chunk " + std::to_string(*flags.prefill_chunk) +
                                ": expected at least 1");
  }
  check_threads(flags.threads);
  require_device(device);
}

Model load_model(const ModelFlags& flags, const ModelConfig& config, const Checkpoint& checkpoint,
                 bool stream_layers) {
  check_model_flags(flags);
  set_threads(flags.threads);
  const c10::Device device = device_of(flags.device);
  return Model(config, checkpoint,
               {.dtype = dtype_of(flags.dtype, device),
                .attention = attention_of(flags.attention),
                .stream_layers = stream_layers,
                .device = device});
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
