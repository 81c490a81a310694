#include "model/layer_loader.h"

#include <fmt/format.h>

namespace seer {

LayerLoader::LayerLoader(const ModelConfig& config, const WeightSource& source,
                         const at::TensorOptions& options)
    : config_(config), source_(source), options_(options) {
  for (ExpectedTensor& tensor : expected_tensors(config)) {
    shapes_.emplace(std::move(tensor.name), std::move(tensor.shape));
  }
}

at::Tensor LayerLoader::tensor(const std::string& name) const {
  return load_stacked(source_, {{name, shapes_.at(name)}}, options_);
}

RmsNorm LayerLoader::norm(const std::string& name) const {
  return {.weight = tensor(name + ".weight"), .eps = config_.rms_norm_eps};
}

Linear LayerLoader::linear(const std::string& prefix, const std::vector<std::string>& names,
                           bool bias) const {
  const auto stacked = [&](const char* kind) {
    std::vector<ExpectedTensor> parts;
    for (const std::string& name : names) {
      const std::string full = prefix + name + kind;
      parts.push_back({full, shapes_.at(full)});
    }
    return load_stacked(source_, parts, options_);
  };
  return {.weight = stacked(".weight"), .bias = bias ? stacked(".bias") : at::Tensor()};
}

DecoderLayer LayerLoader::layer(std::int64_t index) const {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  DecoderLayer layer;
  layer.attention_norm = norm(prefix + "input_layernorm");
  layer.mlp_norm = norm(prefix + "post_attention_layernorm");
  SelfAttention& attention = layer.attention;
  attention.num_q_heads = config_.num_q_heads;
  attention.num_kv_heads = config_.num_kv_heads;
  attention.head_dim = config_.head_dim;
  attention.qkv = linear(prefix + "self_attn.", {"q_proj", "k_proj", "v_proj"}, config_.qkv_bias);
  attention.output = linear(prefix + "self_attn.", {"o_proj"}, config_.output_bias);
  if (config_.qk_norm) {
    attention.q_norm = norm(prefix + "self_attn.q_norm");
    attention.k_norm = norm(prefix + "self_attn.k_norm");
  }
  layer.mlp.gate_up = linear(prefix + "mlp.", {"gate_proj", "up_proj"}, config_.mlp_bias);
  layer.mlp.down = linear(prefix + "mlp.", {"down_proj"}, config_.mlp_bias);
  return layer;
}

}  // namespace seer
