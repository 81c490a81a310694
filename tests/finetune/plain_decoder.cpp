#include "plain_decoder.h"

#include <ATen/ATen.h>

#include <cmath>

#include "model/weights.h"
#include "seer/rope.h"

namespace seer::test {
namespace {

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x / (x.square().mean(-1, true) + eps).sqrt() * weight;
}

// x [heads, length, head_dim]
at::Tensor turn(const at::Tensor& x, const Rope& rope) {
  const at::Tensor angles =
      at::arange(x.size(1), at::kDouble).unsqueeze(1) * rope.inv_freq.to(at::kDouble).unsqueeze(0);
  const at::Tensor cos = angles.cos() * rope.attention_scale;
  const at::Tensor sin = angles.sin() * rope.attention_scale;
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

at::Tensor visible(std::int64_t length, const at::Tensor& blocks, std::int64_t block_size) {
  const at::Tensor causal = at::ones({length, length}, at::kBool).tril();
  if (!blocks.defined()) return causal;
  const at::Tensor wide = blocks.repeat_interleave(block_size, 1).repeat_interleave(block_size, 2);
  return wide.narrow(1, 0, length).narrow(2, 0, length).logical_and(causal);
}

}  // namespace

PlainWeights plain_weights(const ModelConfig& config, const Checkpoint& checkpoint) {
  PlainWeights weights;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    weights[tensor.name] = checkpoint.load(tensor.name, tensor.shape, at::kFloat)
                               .to(at::kDouble)
                               .set_requires_grad(true);
  }
  return weights;
}

at::Tensor plain_logits(const ModelConfig& config, const PlainWeights& weights,
                        const at::Tensor& tokens, const PlainMasks& masks) {
  const Rope rope = make_rope(config.rope, config.head_dim);
  const std::int64_t length = tokens.size(0);
  at::Tensor hidden = weights.at("model.embed_tokens.weight").index_select(0, tokens);
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto linear = [&](const std::string& name, const at::Tensor& x) {
      const at::Tensor product = x.matmul(weights.at(prefix + name + ".weight").t());
      const auto bias = weights.find(prefix + name + ".bias");
      return bias == weights.end() ? product : product + bias->second;
    };
    const auto normed = [&](const std::string& name, const at::Tensor& x) {
      return norm(x, weights.at(prefix + name + ".weight"), config.rms_norm_eps);
    };
    const at::Tensor x = normed("input_layernorm", hidden);
    const auto heads = [&](const std::string& name) {
      return linear(name, x).view({length, -1, config.head_dim}).transpose(0, 1);
    };
    at::Tensor q = heads("self_attn.q_proj"), k = heads("self_attn.k_proj");
    at::Tensor v = heads("self_attn.v_proj");
    if (config.qk_norm) {
      q = normed("self_attn.q_norm", q);
      k = normed("self_attn.k_norm", k);
    }
    const std::int64_t group = config.num_q_heads / config.num_kv_heads;
    q = turn(q, rope);
    k = turn(k, rope).repeat_interleave(group, 0);
    v = v.repeat_interleave(group, 0);
    const at::Tensor blocks =
        masks.layers.empty() ? at::Tensor() : masks.layers[static_cast<std::size_t>(layer)];
    const at::Tensor scores =
        q.matmul(k.transpose(1, 2)) / std::sqrt(static_cast<double>(config.head_dim));
    const at::Tensor hidden_scores =
        scores.masked_fill(visible(length, blocks, masks.block_size).logical_not(), -INFINITY);
    // A row without any key attends to nothing.
    const at::Tensor is_empty = hidden_scores.isinf().all(-1, true);
    const at::Tensor p =
        hidden_scores.masked_fill(is_empty, 0).softmax(-1).masked_fill(is_empty, 0);
    hidden = hidden + linear("self_attn.o_proj", p.matmul(v).transpose(0, 1).reshape({length, -1}));
    const at::Tensor y = normed("post_attention_layernorm", hidden);
    hidden = hidden + linear("mlp.down_proj",
                             at::silu(linear("mlp.gate_proj", y)) * linear("mlp.up_proj", y));
  }
  hidden = norm(hidden, weights.at("model.norm.weight"), config.rms_norm_eps);
  return hidden.matmul(
      weights.at(config.tie_embeddings ? "model.embed_tokens.weight" : "lm_head.weight").t());
}

at::Tensor plain_loss(const ModelConfig& config, const PlainWeights& weights,
                      const at::Tensor& tokens, const PlainMasks& masks) {
  const std::int64_t count = tokens.size(0) - 1;
  return at::cross_entropy_loss(plain_logits(config, weights, tokens, masks).narrow(0, 0, count),
                                tokens.narrow(0, 1, count));
}

}  // namespace seer::test
