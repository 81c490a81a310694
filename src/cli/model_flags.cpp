#include "cli/model_flags.h"

#include <ATen/Parallel.h>

#include <filesystem>
#include <stdexcept>

#include "cli/flag_checks.h"

namespace seer::cli {
namespace {

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

Model load_model(const ModelFlags& flags, const std::filesystem::path& folder) {
  return load_model(flags, read_model_config(folder), Checkpoint::open(folder));
}

Model load_model(const ModelFlags& flags, const ModelConfig& config, const Checkpoint& checkpoint,
                 bool stream_layers) {
  const ModelOptions options{.dtype = dtype_of(flags.dtype),
                             .attention = attention_of(flags.attention),
                             .stream_layers = stream_layers};
  if (flags.prefill_chunk < 1) {
    throw std::invalid_argument("--prefill-chunk " + std::to_string(flags.prefill_chunk) +
                                ": expected at least 1");
  }
  if (flags.threads < 0) {
    throw std::invalid_argument("--threads " + std::to_string(flags.threads) +
                                ": expected at least 1");
  }
  if (flags.threads > 0) at::set_num_threads(flags.threads);
  return Model(config, checkpoint, options);
}

}  // namespace seer::cli
