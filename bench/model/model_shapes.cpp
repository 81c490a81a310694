#include "bench/model/model_shapes.h"

#include <stdexcept>

namespace seer::bench {
namespace {

RopeConfig llama3_rope(double factor) {
  return {.kind = RopeKind::kLlama3,
          .theta = 500000,
          .factor = factor,
          .low_freq_factor = 1,
          .high_freq_factor = 4,
          .original_max_positions = 8192};
}

std::vector<ModelConfig> all_shapes() {
  ModelConfig llama_8b;
  llama_8b.family = ModelFamily::kLlama;
  llama_8b.name = "llama-3.1-8b";
  llama_8b.vocab_size = 128256;
  llama_8b.hidden_size = 4096;
  llama_8b.intermediate_size = 14336;
  llama_8b.num_layers = 32;
  llama_8b.num_q_heads = 32;
  llama_8b.num_kv_heads = 8;
  llama_8b.head_dim = 128;
  llama_8b.max_positions = 131072;
  llama_8b.rms_norm_eps = 1e-5;
  llama_8b.rope = llama3_rope(8);

  ModelConfig llama_1b = llama_8b;
  llama_1b.name = "llama-3.2-1b";
  llama_1b.hidden_size = 2048;
  llama_1b.intermediate_size = 8192;
  llama_1b.num_layers = 16;
  llama_1b.head_dim = 64;
  llama_1b.tie_embeddings = true;
  llama_1b.rope = llama3_rope(32);

  ModelConfig qwen25_7b;
  qwen25_7b.family = ModelFamily::kQwen2;
  qwen25_7b.name = "qwen2.5-7b";
  qwen25_7b.vocab_size = 152064;
  qwen25_7b.hidden_size = 3584;
  qwen25_7b.intermediate_size = 18944;
  qwen25_7b.num_layers = 28;
  qwen25_7b.num_q_heads = 28;
  qwen25_7b.num_kv_heads = 4;
  qwen25_7b.head_dim = 128;
  qwen25_7b.max_positions = 131072;
  qwen25_7b.qkv_bias = true;
  qwen25_7b.rope.theta = 1e6;

  ModelConfig qwen3_8b = llama_8b;
  qwen3_8b.family = ModelFamily::kQwen3;
  qwen3_8b.name = "qwen3-8b";
  qwen3_8b.vocab_size = 151936;
  qwen3_8b.intermediate_size = 12288;
  qwen3_8b.num_layers = 36;
  qwen3_8b.max_positions = 40960;
  qwen3_8b.rms_norm_eps = 1e-6;
  qwen3_8b.qk_norm = true;
  qwen3_8b.rope = {.theta = 1e6};

  return {llama_8b, llama_1b, qwen25_7b, qwen3_8b};
}

}  // namespace

ModelConfig model_shape(std::string_view name) {
  for (ModelConfig& shape : all_shapes()) {
    if (shape.name == name) return shape;
  }
  std::string names;
  for (const std::string& known : model_shape_names()) names += (names.empty() ? "" : ", ") + known;
  throw std::invalid_argument("--shape '" + std::string(name) + "': expected one of " + names);
}

std::vector<std::string> model_shape_names() {
  std::vector<std::string> names;
  for (const ModelConfig& shape : all_shapes()) names.push_back(shape.name);
  return names;
}

}  // namespace seer::bench
