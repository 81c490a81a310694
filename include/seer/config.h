// The configuration of a decoder model in Hugging Face layout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace seer {

enum class ModelFamily { kLlama, kMistral, kQwen2, kQwen3 };

enum class RopeKind { kDefault, kLinear, kLlama3, kYarn };

// Rotary embedding; fields that a kind does not use keep their defaults.
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;                      // linear, llama3, yarn
  double low_freq_factor = 1.0;             // llama3
  double high_freq_factor = 4.0;            // llama3
  std::int64_t original_max_positions = 0;  // llama3, yarn: the length before scaling
  double beta_fast = 32.0;                  // yarn
  double beta_slow = 1.0;                   // yarn
  std::optional<double> attention_factor =
      std::nullopt;  // yarn: multiplies cos and sin; derived from factor when absent
  std::optional<double> mscale = std::nullopt, mscale_all_dim = std::nullopt;  // yarn
  bool truncate = true;  // yarn: round the correction range to integers

  bool operator==(const RopeConfig&) const = default;
};

// Tokens of a prompt that go through the layers at once, unless another number is asked for.
inline constexpr std::int64_t kDefaultPrefillChunk = 2048;

struct ModelConfig {
  ModelFamily family = ModelFamily::kLlama;
  std::string name;  // folder name or _name_or_path
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  bool qkv_bias = false;  // Qwen2; Llama with attention_bias
  bool output_bias =
      false;  // bias of the attention's output projection (Llama with attention_bias)
  bool mlp_bias = false;
  bool qk_norm = false;  // Qwen3
  bool tie_embeddings = false;
  RopeConfig rope;
  std::string dtype =
      "float32";  // of the stored weights, as config.json says: float32, bfloat16 or float16
  // From generation_config.json where present, else config.json.
  std::optional<std::int64_t> bos_token;
  std::vector<std::int64_t> eos_tokens;
  std::optional<std::int64_t> pad_token;
};

// Reads config.json and, where present, generation_config.json of a model folder. Both conventions: rope_theta +
// rope_scaling and rope_parameters; torch_dtype and dtype. Throws std::runtime_error naming the file, the field, its
// value, what is supported and, where a model is not supported, why.
ModelConfig read_model_config(const std::filesystem::path& folder);

}  // namespace seer
