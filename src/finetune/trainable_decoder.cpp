#include "finetune/trainable_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>
#include <string>
#include <utility>

#include "seer/ops.h"

namespace seer {
namespace {

std::optional<at::Tensor> if_any(const TrainedWeight& weight) {
  return weight.value.defined() ? std::optional<at::Tensor>(weight.value) : std::nullopt;
}

// sum + x W^T + bias. On a GPU the product itself adds, before it rounds, as in inference.
at::Tensor add_linear(const at::Tensor& sum, const at::Tensor& x, const TrainedWeight& weight,
                      const TrainedWeight& bias) {
  if (!x.is_cuda()) return sum + at::linear(x, weight.value, if_any(bias));
  const at::Tensor out = at::addmm(sum, x, weight.value.t());
  return bias.value.defined() ? out + bias.value : out;
}

TrainedLayer layer_of(const FlatWeights& weights, std::int64_t index) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const auto get = [&](std::vector<std::string> names) {
    for (std::string& name : names) name = prefix + name;
    return weights.weight(names);
  };
  return {
      .attention_norm = get({"input_layernorm.weight"}),
      .qkv = get({"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}),
      .qkv_bias = get({"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}),
      .q_norm = get({"self_attn.q_norm.weight"}),
      .k_norm = get({"self_attn.k_norm.weight"}),
      .output = get({"self_attn.o_proj.weight"}),
      .output_bias = get({"self_attn.o_proj.bias"}),
      .mlp_norm = get({"post_attention_layernorm.weight"}),
      .gate_up = get({"mlp.gate_proj.weight", "mlp.up_proj.weight"}),
      .gate_up_bias = get({"mlp.gate_proj.bias", "mlp.up_proj.bias"}),
      .down = get({"mlp.down_proj.weight"}),
      .down_bias = get({"mlp.down_proj.bias"})};
}

// A graph from an input to an output: what a gradient goes through.
struct Segment {
  at::Tensor input, output = {};
};

// Adds the gradients of the weights of a segment; returns that of its input.
at::Tensor backward(const Segment& segment, const std::vector<TrainedWeight>& weights,
                    const at::Tensor& grad) {
  std::vector<at::Tensor> inputs = {segment.input};
  for (const TrainedWeight& weight : weights) inputs.push_back(weight.value);
  const std::vector<at::Tensor> grads =
      torch::autograd::grad({segment.output}, inputs, {grad}, /*retain_graph=*/false,
                            /*create_graph=*/false, /*allow_unused=*/false);
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i].gradient.add_(grads[i + 1]);
  return grads.front();
}

}  // namespace

std::vector<TrainedWeight> TrainedLayer::all() const {
  std::vector<TrainedWeight> present;
  for (const TrainedWeight* weight :
       {&attention_norm, &qkv, &qkv_bias, &q_norm, &k_norm, &output, &output_bias, &mlp_norm,
        &gate_up, &gate_up_bias, &down, &down_bias}) {
    if (weight->value.defined()) present.push_back(*weight);
  }
  return present;
}

TrainableDecoder::TrainableDecoder(const ModelConfig& config, const FlatWeights& weights,
                                   c10::Device device)
    : config_(config),
      layout_{.num_q_heads = config.num_q_heads,
              .num_kv_heads = config.num_kv_heads,
              .head_dim = config.head_dim,
              .eps = config.rms_norm_eps},
      rope_(make_rope(config.rope, config.head_dim)),
      embedding_(weights.weight({"model.embed_tokens.weight"})),
      final_norm_(weights.weight({"model.norm.weight"})),
      output_(config.tie_embeddings ? embedding_ : weights.weight({"lm_head.weight"})) {
  rope_.inv_freq = rope_.inv_freq.to(device);
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer)
    layers_.push_back(layer_of(weights, layer));
}

RopeTable TrainableDecoder::table(std::int64_t batch, std::int64_t length) const {
  const RopeTable one = rope_table(rope_, 0, length);
  if (batch == 1) return one;
  return {.cos = one.cos.repeat({batch, 1}), .sin = one.sin.repeat({batch, 1})};
}

at::Tensor TrainableDecoder::run_layer(std::int64_t index, const at::Tensor& hidden,
                                       const RopeTable& table, TrainingAttention& attention,
                                       Blocks blocks) const {
  const TrainedLayer& layer = layers_[static_cast<std::size_t>(index)];
  const at::Tensor normed = rms_norm(hidden, layer.attention_norm.value, config_.rms_norm_eps);
  const at::Tensor projected =
      at::linear(normed, layer.qkv.value, if_any(layer.qkv_bias))
          .view({hidden.size(0), layout_.num_q_heads + 2 * layout_.num_kv_heads, layout_.head_dim});
  Heads heads;
  if (at::GradMode::is_enabled()) {
    heads = trained_heads(projected, layer.q_norm.value, layer.k_norm.value, table, layout_);
  }
  if (!at::GradMode::is_enabled() || blocks == Blocks::kChosenNow) {
    const at::NoGradGuard no_grad;
    const Heads plain =
        split_heads(projected.detach(), layer.q_norm.value, layer.k_norm.value, table, layout_);
    if (blocks == Blocks::kChosenNow) attention.choose(index, plain);
    if (!heads.q.defined()) heads = plain;
  }
  const at::Tensor attended =
      add_linear(hidden, attention.attend(index, heads), layer.output, layer.output_bias);
  const at::Tensor activated =
      swiglu(at::linear(rms_norm(attended, layer.mlp_norm.value, config_.rms_norm_eps),
                        layer.gate_up.value, if_any(layer.gate_up_bias)));
  return add_linear(attended, activated, layer.down, layer.down_bias);
}

at::Tensor TrainableDecoder::forward(const at::Tensor& tokens, TrainingAttention& attention) const {
  const at::NoGradGuard no_grad;
  const RopeTable rows = table(tokens.size(0), tokens.size(1));
  at::Tensor hidden = at::embedding(embedding_.value, tokens.reshape({-1}));
  for (std::int64_t i = 0; i < config_.num_layers; ++i)
    hidden = run_layer(i, hidden, rows, attention, Blocks::kChosenNow);
  return rms_norm(hidden, final_norm_.value, config_.rms_norm_eps);
}

at::Tensor TrainableDecoder::loss(const at::Tensor& tokens, TrainingAttention& attention) const {
  return token_loss(forward(tokens, attention), output_.value, next_tokens(tokens));
}

at::Tensor TrainableDecoder::learn(const at::Tensor& tokens, TrainingAttention& attention,
                                   double scale, bool recompute) const {
  const RopeTable rows = table(tokens.size(0), tokens.size(1));
  std::vector<Segment> segments;
  at::Tensor hidden;
  {
    const at::NoGradGuard no_grad;
    hidden = at::embedding(embedding_.value, tokens.reshape({-1}));
  }
  const auto run = [&](std::int64_t layer, const at::Tensor& input, Blocks blocks) {
    const at::AutoGradMode gradients(true);
    Segment segment{.input = input.detach().set_requires_grad(true)};
    segment.output = run_layer(layer, segment.input, rows, attention, blocks);
    return segment;
  };
  for (std::int64_t i = 0; i < config_.num_layers; ++i) {
    if (recompute) {
      const at::NoGradGuard no_grad;
      segments.push_back({.input = hidden});
      hidden = run_layer(i, hidden, rows, attention, Blocks::kChosenNow);
    } else {
      segments.push_back(run(i, hidden, Blocks::kChosenNow));
      hidden = segments.back().output.detach();
    }
  }
  Segment last{.input = hidden.detach().set_requires_grad(true)};
  {
    const at::AutoGradMode gradients(true);
    last.output = rms_norm(last.input, final_norm_.value, config_.rms_norm_eps);
  }
  at::Tensor grad = at::empty_like(hidden);
  const at::Tensor sum =
      learn_tokens(last.output.detach(), output_, next_tokens(tokens), scale, grad);
  grad = backward(last, {final_norm_}, grad);
  for (std::int64_t i = config_.num_layers; i-- > 0;) {
    Segment segment = std::move(segments.back());
    segments.pop_back();
    if (recompute) segment = run(i, segment.input, Blocks::kChosenBefore);
    grad = backward(segment, layers_[static_cast<std::size_t>(i)].all(), grad);
  }
  const at::NoGradGuard no_grad;
  embedding_.gradient.add_(at::embedding_dense_backward(grad, tokens.reshape({-1}),
                                                        config_.vocab_size, /*padding_idx=*/-1,
                                                        /*scale_grad_by_freq=*/false));
  return sum;
}

at::Tensor TrainableDecoder::logits(const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return at::linear(hidden, output_.value).to(at::kFloat);
}

}  // namespace seer
