// ModelInfo as text and as JSON.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/quote.h"
#include "seer/model_info.h"

namespace seer {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string_view family_name(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLlama: return "llama";
    case ModelFamily::kMistral: return "mistral";
    case ModelFamily::kQwen2: return "qwen2";
    case ModelFamily::kQwen3: return "qwen3";
  }
  return "";
}

std::string_view rope_name(RopeKind kind) {
  switch (kind) {
    case RopeKind::kDefault: return "default";
    case RopeKind::kLinear: return "linear";
    case RopeKind::kLlama3: return "llama3";
    case RopeKind::kYarn: return "yarn";
  }
  return "";
}

std::string bytes_text(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= std::int64_t{1} << 30) return fmt::format("{:.2f} GiB", value / (1 << 30));
  if (bytes >= 1 << 20) return fmt::format("{:.1f} MiB", value / (1 << 20));
  return fmt::format("{} bytes", bytes);
}

std::string count_text(std::int64_t count) {
  const auto value = static_cast<double>(count);
  if (count >= 1'000'000'000) return fmt::format("{:.2f} billion", value / 1e9);
  if (count >= 1'000'000) return fmt::format("{:.1f} million", value / 1e6);
  return std::to_string(count);
}

std::string rope_text(const RopeConfig& rope) {
  std::string text = fmt::format("{}, theta {}", rope_name(rope.kind), rope.theta);
  if (rope.kind != RopeKind::kDefault) text += fmt::format(", factor {}", rope.factor);
  if (rope.original_max_positions > 0)
    text += fmt::format(", from {} positions", rope.original_max_positions);
  return text;
}

// What of the architecture is not the same in all of its family.
std::string features(const ModelConfig& config) {
  std::string text = config.tie_embeddings ? "tied embeddings" : "an output matrix of its own";
  if (config.qkv_bias) text += ", q/k/v bias";
  if (config.output_bias) text += ", output bias";
  if (config.mlp_bias) text += ", MLP bias";
  if (config.qk_norm) text += ", q/k norm";
  return text;
}

OrderedJson optional_json(const auto& value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

OrderedJson rope_json(const RopeConfig& rope) {
  OrderedJson json = {{"kind", rope_name(rope.kind)}, {"theta", rope.theta}};
  if (rope.kind == RopeKind::kDefault) return json;
  json["factor"] = rope.factor;
  if (rope.kind == RopeKind::kLinear) return json;
  json["original_max_positions"] = rope.original_max_positions;
  if (rope.kind == RopeKind::kLlama3) {
    json["low_freq_factor"] = rope.low_freq_factor;
    json["high_freq_factor"] = rope.high_freq_factor;
    return json;
  }
  json["beta_fast"] = rope.beta_fast;
  json["beta_slow"] = rope.beta_slow;
  json["attention_factor"] = optional_json(rope.attention_factor);
  json["mscale"] = optional_json(rope.mscale);
  json["mscale_all_dim"] = optional_json(rope.mscale_all_dim);
  json["truncate"] = rope.truncate;
  return json;
}

OrderedJson config_json(const ModelConfig& config) {
  return {{"family", family_name(config.family)},
          {"name", config.name},
          {"vocab_size", config.vocab_size},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_layers", config.num_layers},
          {"num_q_heads", config.num_q_heads},
          {"num_kv_heads", config.num_kv_heads},
          {"head_dim", config.head_dim},
          {"max_positions", config.max_positions},
          {"rms_norm_eps", config.rms_norm_eps},
          {"qkv_bias", config.qkv_bias},
          {"output_bias", config.output_bias},
          {"mlp_bias", config.mlp_bias},
          {"qk_norm", config.qk_norm},
          {"tie_embeddings", config.tie_embeddings},
          {"dtype", config.dtype},
          {"rope", rope_json(config.rope)},
          {"bos_token", optional_json(config.bos_token)},
          {"eos_tokens", config.eos_tokens},
          {"pad_token", optional_json(config.pad_token)}};
}

OrderedJson count_json(const TensorCount& count) {
  return {{"tensors", count.tensors}, {"bytes", count.bytes}};
}

OrderedJson memory_json(const MemoryEstimate& memory) {
  return {{"weights", memory.weights},   {"gates", memory.gates},
          {"cache", memory.cache},       {"activations", memory.activations},
          {"baseline", memory.baseline}, {"total", memory.total()}};
}

}  // namespace

std::string model_info_text(const ModelInfo& info) {
  const ModelConfig& config = info.config;
  std::string text;
  const auto line = [&text](std::string_view label, const std::string& value) {
    text += fmt::format("{:<12} {}\n", label, value);
  };
  line("model", printable(config.name, 200));
  line("folder", info.folder);
  line("family", std::string(family_name(config.family)) + ", " + features(config));
  line("layers", fmt::format("{}, width {}, MLP {}, vocabulary {}", config.num_layers,
                             config.hidden_size, config.intermediate_size, config.vocab_size));
  line("attention", fmt::format("{} query heads, {} key/value heads, head_dim {}",
                                config.num_q_heads, config.num_kv_heads, config.head_dim));
  line("positions",
       fmt::format("{}, rotary embedding {}", config.max_positions, rope_text(config.rope)));
  line("parameters", fmt::format("{} ({} in embeddings)", count_text(info.parameters),
                                 count_text(info.embedding_parameters)));
  std::string types;
  for (const auto& [dtype, count] : info.stored_by_dtype) {
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count.tensors, dtype);
  }
  line("tensors", info.stored.tensors == 0 ? "none" : types + ": " + bytes_text(info.stored.bytes));
  if (info.gates) {
    line("gates", fmt::format("{}: {} tensors, {}", info.gates->folder, info.gates->stored.tensors,
                              bytes_text(info.gates->stored.bytes)));
    for (const auto& [field, value] : info.gates->fields) {
      line("", printable(field, 60) + " = " + printable(value, 100));
    }
  }
  const MemoryEstimate& memory = info.memory;
  text += fmt::format("\nmemory for {} x {} tokens in {}, prefill by {} (estimate)\n",
                      info.run.batch, info.run.context, info.run.dtype, info.run.prefill_chunk);
  line("  weights", bytes_text(memory.weights));
  if (info.gates) line("  gates", bytes_text(memory.gates));
  line("  cache", bytes_text(memory.cache));
  line("  activations", bytes_text(memory.activations));
  line("  baseline", bytes_text(memory.baseline));
  line("  total", bytes_text(memory.total()));
  return text;
}

std::string model_info_json(const ModelInfo& info) {
  OrderedJson by_dtype = OrderedJson::object();
  for (const auto& [dtype, count] : info.stored_by_dtype) by_dtype[dtype] = count_json(count);
  OrderedJson stored = count_json(info.stored);
  stored["by_dtype"] = by_dtype;
  OrderedJson json = {
      {"folder", info.folder},
      {"config", config_json(info.config)},
      {"parameters", {{"total", info.parameters}, {"embedding", info.embedding_parameters}}},
      {"stored", stored},
      {"run",
       {{"context", info.run.context},
        {"batch", info.run.batch},
        {"dtype", info.run.dtype},
        {"prefill_chunk", info.run.prefill_chunk}}},
      {"memory", memory_json(info.memory)},
      {"problems", info.problems}};
  if (info.gates) {
    json["gates"] = count_json(info.gates->stored);
    json["gates"]["folder"] = info.gates->folder;
    json["gates"]["config"] = info.gates->fields;
  }
  // A folder's name need not be UTF-8.
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace seer
