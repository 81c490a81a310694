#include "seer/config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "base/config_fields.h"
#include "base/quote.h"
#include "model/config_reader.h"
#include "model/rope_config.h"

namespace seer {
namespace {

constexpr std::int64_t kMaxLayers = 10'000;
constexpr double kMaxParameters = 1e15;   // beyond this, sizes in bytes could overflow
constexpr double kDefaultNormEps = 1e-6;  // transformers', where config.json has none
constexpr std::int64_t kDefaultQwen3HeadDim = 128;
constexpr std::int64_t kDefaultMistralWindow = 4096;

struct Family {
  ModelFamily family;
  std::string_view model_type;
  std::string_view architecture;
};

constexpr std::array kFamilies = {
    Family{ModelFamily::kLlama, "llama", "LlamaForCausalLM"},
    Family{ModelFamily::kMistral, "mistral", "MistralForCausalLM"},
    Family{ModelFamily::kQwen2, "qwen2", "Qwen2ForCausalLM"},
    Family{ModelFamily::kQwen3, "qwen3", "Qwen3ForCausalLM"},
};

const Family& read_family(const ConfigFields& config) {
  std::string supported;
  for (const Family& family : kFamilies)
    supported += (supported.empty() ? "" : ", ") + std::string(family.model_type);
  const auto type = config.text("model_type");
  if (!type) config.fail("model_type", "expected one of " + supported);
  const auto* found = std::find_if(kFamilies.begin(), kFamilies.end(), [&](const Family& family) {
    return family.model_type == *type;
  });
  if (found == kFamilies.end())
    config.fail("model_type", "not supported (supported: " + supported + ")");
  const Json* architectures = config.find("architectures");
  if (architectures == nullptr) return *found;
  if (!architectures->is_array()) config.fail("architectures", "expected an array of names");
  const bool known =
      std::any_of(architectures->begin(), architectures->end(), [&](const Json& name) {
        return name.is_string() && name.get_ref<const std::string&>() == found->architecture;
      });
  if (!known && !architectures->empty()) {
    config.fail("architectures", "not supported for model_type " + *type +
                                     " (supported: " + std::string(found->architecture) + ")");
  }
  return *found;
}

// What would change the numbers and is not computed here.
void refuse_unsupported(const ConfigFields& config) {
  if (config.text("hidden_act").value_or("silu") != "silu") {
    config.fail("hidden_act", "not supported (supported: silu)");
  }
  if (const auto quantization = config.object("quantization_config")) {
    if (quantization->has("quant_method")) {
      quantization->fail("quant_method",
                         "quantized weights are not supported (supported: float32, bfloat16 and "
                         "float16 weights)");
    }
    config.fail(
        "quantization_config",
        "quantized weights are not supported (supported: float32, bfloat16 and float16 weights)");
  }
}

void refuse_sliding_window(const ConfigFields& config, const ModelConfig& out) {
  constexpr const char* kWhy =
      "attention in a sliding window is not supported (supported: full attention)";
  if (config.boolean("use_sliding_window").value_or(false)) config.fail("use_sliding_window", kWhy);
  if (out.family == ModelFamily::kMistral) {
    // Absent means 4096 to transformers, null means none. A window of all positions changes nothing.
    const bool none = config.json().contains("sliding_window") && !config.has("sliding_window");
    if (!none &&
        config.size("sliding_window").value_or(kDefaultMistralWindow) < out.max_positions) {
      config.fail("sliding_window",
                  std::string(kWhy) +
                      (config.has("sliding_window")
                           ? ""
                           : "; absent means a window of 4096. For a model without one, say null"));
    }
  }
  const Json* types = config.find("layer_types");
  if (types == nullptr) return;
  if (!types->is_array() || types->size() != static_cast<std::size_t>(out.num_layers)) {
    config.fail("layer_types",
                "expected an array of num_hidden_layers names, " + std::to_string(out.num_layers));
  }
  for (const Json& type : *types) {
    if (type != "full_attention") {
      throw std::runtime_error(
          config.source() + ": layer_types holds " +
          (type.is_string() ? quote(type.get_ref<const std::string&>()) : type.type_name()) +
          ": not supported (supported: \"full_attention\" for each layer)");
    }
  }
}

void read_heads(const ConfigFields& config, ModelConfig& out) {
  out.num_q_heads = config.required_size("num_attention_heads");
  if (const auto heads = config.size("num_key_value_heads")) {
    out.num_kv_heads = *heads;
  } else if (out.family == ModelFamily::kLlama || config.json().contains("num_key_value_heads")) {
    out.num_kv_heads = out.num_q_heads;  // before grouped heads, or null
  } else {
    config.fail("num_key_value_heads", "expected an integer");
  }
  if (out.num_q_heads % out.num_kv_heads != 0) {
    config.fail("num_key_value_heads",
                "expected a divisor of num_attention_heads, " + std::to_string(out.num_q_heads));
  }
  if (const auto head_dim = config.size("head_dim")) {
    out.head_dim = *head_dim;
  } else if (out.family == ModelFamily::kQwen3) {
    out.head_dim = kDefaultQwen3HeadDim;
  } else {
    if (out.hidden_size % out.num_q_heads != 0) {
      config.fail("hidden_size", "without head_dim, expected a multiple of num_attention_heads, " +
                                     std::to_string(out.num_q_heads));
    }
    out.head_dim = out.hidden_size / out.num_q_heads;
  }
  if (out.head_dim % 2 != 0) {
    config.fail(
        config.has("head_dim") ? "head_dim" : "hidden_size",
        "rotary embedding needs an even width of a head, got " + std::to_string(out.head_dim));
  }
}

// Each size is below 2^31, so products of two do not overflow; this holds their sum over the layers in bounds.
void check_parameters(const ConfigFields& config, const ModelConfig& out) {
  const auto hidden = static_cast<double>(out.hidden_size);
  const double attention =
      2 * hidden * static_cast<double>(out.head_dim) *
      (static_cast<double>(out.num_q_heads) + static_cast<double>(out.num_kv_heads));
  const double mlp = 3 * hidden * static_cast<double>(out.intermediate_size);
  const double total = 2 * hidden * static_cast<double>(out.vocab_size) +
                       static_cast<double>(out.num_layers) * (attention + mlp);
  if (total > kMaxParameters) {
    throw std::runtime_error(config.source() +
                             ": vocab_size, hidden_size, intermediate_size, num_attention_heads, "
                             "head_dim and num_hidden_layers describe more than 10^15 parameters");
  }
}

void read_biases(const ConfigFields& config, ModelConfig& out) {
  switch (out.family) {
    case ModelFamily::kLlama:
      out.qkv_bias = out.output_bias = config.boolean("attention_bias").value_or(false);
      out.mlp_bias = config.boolean("mlp_bias").value_or(false);
      break;
    case ModelFamily::kMistral: break;  // has none, whatever its configuration says
    case ModelFamily::kQwen2: out.qkv_bias = true; break;
    case ModelFamily::kQwen3:
      out.qkv_bias = out.output_bias = config.boolean("attention_bias").value_or(false);
      out.qk_norm = true;
      break;
  }
}

std::string read_dtype(const ConfigFields& config) {
  const char* field = config.has("dtype") ? "dtype" : "torch_dtype";
  const std::string dtype = config.text(field).value_or("float32");
  if (dtype != "float32" && dtype != "bfloat16" && dtype != "float16") {
    config.fail(field, "not supported (supported: float32, bfloat16, float16)");
  }
  return dtype;
}

// -1 stands for "none" in older files.
std::optional<std::int64_t> read_token(const ConfigFields& fields, const char* field) {
  const auto token = fields.integer(field);
  if (!token || *token == -1) return std::nullopt;
  if (*token < 0 || *token > std::numeric_limits<std::int32_t>::max())
    fields.fail(field, "expected a token's id");
  return token;
}

std::vector<std::int64_t> read_eos_tokens(const ConfigFields& fields) {
  constexpr const char* kField = "eos_token_id";
  const Json* value = fields.find(kField);
  if (value == nullptr) return {};
  if (!value->is_array()) {
    const auto token = read_token(fields, kField);
    return token ? std::vector{*token} : std::vector<std::int64_t>{};
  }
  std::vector<std::int64_t> tokens;
  for (const Json& token : *value) {
    if (!token.is_number_unsigned() ||
        token.get<std::uint64_t>() >
            static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
      fields.fail(kField, "expected a token's id or an array of them");
    }
    tokens.push_back(token.get<std::int64_t>());
  }
  return tokens;
}

void read_special_tokens(const ConfigFields& fields, ModelConfig& out) {
  if (fields.has("bos_token_id")) out.bos_token = read_token(fields, "bos_token_id");
  if (fields.has("eos_token_id")) out.eos_tokens = read_eos_tokens(fields);
  if (fields.has("pad_token_id")) out.pad_token = read_token(fields, "pad_token_id");
}

}  // namespace

ModelConfig parse_model_config(const Json& json, const std::string& source) {
  const ConfigFields config(json, source);
  ModelConfig out;
  out.family = read_family(config).family;
  refuse_unsupported(config);
  out.name = config.text("_name_or_path").value_or("");
  out.vocab_size = config.required_size("vocab_size");
  out.hidden_size = config.required_size("hidden_size");
  out.intermediate_size = config.required_size("intermediate_size");
  out.num_layers = config.required_size("num_hidden_layers");
  if (out.num_layers > kMaxLayers) {
    config.fail("num_hidden_layers", "expected at most " + std::to_string(kMaxLayers));
  }
  out.max_positions = config.required_size("max_position_embeddings");
  out.rms_norm_eps = config.positive_number("rms_norm_eps").value_or(kDefaultNormEps);
  out.tie_embeddings = config.boolean("tie_word_embeddings").value_or(false);
  read_heads(config, out);
  check_parameters(config, out);
  read_biases(config, out);
  refuse_sliding_window(config, out);
  out.rope = read_rope_config(config, out.max_positions);
  out.dtype = read_dtype(config);
  read_special_tokens(config, out);
  return out;
}

void apply_generation_config(const Json& json, const std::string& source, ModelConfig& config) {
  read_special_tokens(ConfigFields(json, source), config);
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  std::error_code error;
  const auto status = std::filesystem::status(folder, error);
  if (!std::filesystem::exists(status))
    throw std::runtime_error(folder.string() + ": no such folder");
  if (!std::filesystem::is_directory(status)) {
    throw std::runtime_error(folder.string() + ": not a folder: expected the folder of a model");
  }
  const std::filesystem::path file = folder / "config.json";
  if (!std::filesystem::exists(file, error)) {
    throw std::runtime_error(folder.string() +
                             ": has no config.json: expected the folder of a model in Hugging Face "
                             "layout");
  }
  JsonLimits limits;
  limits.max_bytes = 16 << 20;
  ModelConfig config = parse_model_config(read_json_file(file, limits), file.string());
  if (config.name.empty()) {
    config.name = std::filesystem::weakly_canonical(folder, error).filename().string();
  }
  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation, error)) {
    apply_generation_config(read_json_file(generation, limits), generation.string(), config);
  }
  return config;
}

}  // namespace seer
