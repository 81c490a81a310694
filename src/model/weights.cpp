#include "model/weights.h"

#include <ATen/Context.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace seer {
namespace {

constexpr std::size_t kNamedAtMost = 8;
constexpr double kRandomDeviation = 0.02;

bool may_be_ignored(const ModelConfig& config, const std::string& name) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  return config.tie_embeddings && name == "lm_head.weight";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// "3 missing tensors: a, b, c", or nothing.
void describe(std::string& text, const char* kind, const std::vector<std::string>& items) {
  if (items.empty()) return;
  if (!text.empty()) text += "; ";
  const std::size_t named = std::min(items.size(), kNamedAtMost);
  text += fmt::format(
      "{} {} tensor{}: {}", items.size(), kind, items.size() == 1 ? "" : "s",
      fmt::join(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(named), ", "));
  if (named < items.size()) text += fmt::format(" and {} more", items.size() - named);
}

void add_layer(const ModelConfig& config, const std::string& prefix,
               std::vector<ExpectedTensor>& tensors) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t q_width = config.num_q_heads * config.head_dim;
  const std::int64_t kv_width = config.num_kv_heads * config.head_dim;
  const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
    tensors.push_back({prefix + name, std::move(shape)});
  };
  const auto add_linear = [&](const std::string& name, std::int64_t out, std::int64_t in,
                              bool bias) {
    tensors.push_back({prefix + name + ".weight", {out, in}});
    if (bias) tensors.push_back({prefix + name + ".bias", {out}});
  };
  add("input_layernorm.weight", {hidden});
  add("post_attention_layernorm.weight", {hidden});
  add_linear("self_attn.q_proj", q_width, hidden, config.qkv_bias);
  add_linear("self_attn.k_proj", kv_width, hidden, config.qkv_bias);
  add_linear("self_attn.v_proj", kv_width, hidden, config.qkv_bias);
  add_linear("self_attn.o_proj", hidden, q_width, config.output_bias);
  if (config.qk_norm) {
    add("self_attn.q_norm.weight", {config.head_dim});
    add("self_attn.k_norm.weight", {config.head_dim});
  }
  add_linear("mlp.gate_proj", config.intermediate_size, hidden, config.mlp_bias);
  add_linear("mlp.up_proj", config.intermediate_size, hidden, config.mlp_bias);
  add_linear("mlp.down_proj", hidden, config.intermediate_size, config.mlp_bias);
}

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config) {
  std::vector<ExpectedTensor> tensors;
  tensors.push_back({"model.embed_tokens.weight", {config.vocab_size, config.hidden_size}});
  tensors.push_back({"model.norm.weight", {config.hidden_size}});
  if (!config.tie_embeddings) {
    tensors.push_back({"lm_head.weight", {config.vocab_size, config.hidden_size}});
  }
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    add_layer(config, fmt::format("model.layers.{}.", layer), tensors);
  }
  return tensors;
}

void check_tensors(const ModelConfig& config, const Checkpoint& checkpoint) {
  std::vector<std::string> missing, unexpected, misshapen;
  std::set<std::string> expected;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    expected.insert(tensor.name);
    if (!checkpoint.contains(tensor.name)) {
      missing.push_back(tensor.name);
      continue;
    }
    const std::vector<std::int64_t>& shape = checkpoint.info(tensor.name).shape;
    if (shape != tensor.shape) {
      misshapen.push_back(fmt::format("{} (expected {}, got {})", tensor.name,
                                      shape_text(tensor.shape), shape_text(shape)));
    }
  }
  for (const std::string& name : checkpoint.names()) {
    if (!expected.contains(name) && !may_be_ignored(config, name)) unexpected.push_back(name);
  }
  std::string problems;
  describe(problems, "missing", missing);
  describe(problems, "unexpected", unexpected);
  describe(problems, "wrongly shaped", misshapen);
  if (problems.empty()) return;
  throw std::runtime_error(fmt::format(
      "{}: the weights do not fit config.json: {}. Expected the tensors of a {} model with {} "
      "layers",
      config.name, problems, config.tie_embeddings ? "tied" : "untied", config.num_layers));
}

RandomWeights::RandomWeights(c10::Device device, std::uint64_t seed)
    : generator_(at::globalContext().defaultGenerator(device).clone()) {
  generator_.set_current_seed(seed);
}

void RandomWeights::fill(const std::string& name, const at::Tensor& out) const {
  if (name.ends_with(".bias")) {
    out.zero_();
  } else if (out.dim() == 1) {
    out.fill_(1);
  } else {
    out.normal_(0.0, kRandomDeviation, generator_);
  }
}

at::Tensor load_stacked(const WeightSource& source, const std::vector<ExpectedTensor>& parts,
                        const at::TensorOptions& options) {
  std::vector<std::int64_t> shape = parts.front().shape;
  shape[0] = 0;
  for (const ExpectedTensor& part : parts) shape[0] += part.shape[0];
  at::Tensor whole = at::empty(shape, options);
  std::int64_t row = 0;
  for (const ExpectedTensor& part : parts) {
    source.fill(part.name, whole.narrow(0, row, part.shape[0]));
    row += part.shape[0];
  }
  return whole;
}

}  // namespace seer
