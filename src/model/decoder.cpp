#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "attention/dense_attention.h"
#include "model/device_rows.h"
#include "model/layer_loader.h"
#include "seer/device.h"
#include "seer/model.h"
#include "seer/rope.h"

namespace seer {
namespace {

void check_dtype(const ModelOptions& options) {
  if (options.device.is_cpu()) {
    TORCH_CHECK(options.dtype == at::kFloat || options.dtype == at::kBFloat16,
                "dtype: expected float32 or bfloat16, got ", options.dtype);
  } else {
    TORCH_CHECK(options.dtype == at::kBFloat16 || options.dtype == at::kHalf,
                "dtype: expected bfloat16 or float16, which the kernels of a GPU take, got ",
                options.dtype);
  }
}

}  // namespace

struct Model::Impl {
  ModelConfig config;
  ModelOptions options;
  at::Tensor embedding;  // [vocab_size, hidden_size]
  std::vector<DecoderLayer> layers;
  RmsNorm final_norm;
  Linear output;
  Rope rope;
  mutable DenseAttention dense;
  PartWatch after_part;
  // Where layers are read from at each pass; null: `layers` has them.
  std::unique_ptr<WeightSource> streamed;
  std::optional<LayerLoader> stream_loader;

  // Loads what stays in memory.
  Impl(const ModelConfig& config, std::unique_ptr<WeightSource> source,
       const ModelOptions& options);

  void check_tokens(const at::Tensor& tokens) const;
  void check_cache(const KvCache& cache, std::int64_t new_tokens) const;
  // Runs packed tokens [rows]; returns [rows, hidden_size].
  at::Tensor run(const at::Tensor& tokens, std::span<const SequenceRows> sequences) const;
  RopeTable table(std::span<const SequenceRows> sequences) const;
};

Model::Impl::Impl(const ModelConfig& model_config, std::unique_ptr<WeightSource> source,
                  const ModelOptions& model_options)
    : config(model_config), options(model_options), dense(model_options.attention) {
  LayerLoader loader(config, *source, options.tensors());
  embedding = loader.tensor("model.embed_tokens.weight");
  final_norm = loader.norm("model.norm");
  rope = make_rope(config.rope, config.head_dim);
  rope.inv_freq = rope.inv_freq.to(options.device);
  if (options.stream_layers) {
    streamed = std::move(source);
    stream_loader.emplace(std::move(loader));
    return;
  }
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    layers.push_back(loader.layer(layer));
  }
  output.weight = config.tie_embeddings ? embedding : loader.tensor("lm_head.weight");
}

void Model::Impl::check_tokens(const at::Tensor& tokens) const {
  TORCH_CHECK(tokens.defined() && tokens.scalar_type() == at::kLong, "tokens: expected int64 ids");
  if (tokens.numel() == 0) return;
  const auto lowest = tokens.min().item<std::int64_t>();
  const auto highest = tokens.max().item<std::int64_t>();
  TORCH_CHECK(lowest >= 0 && highest < config.vocab_size, "tokens: expected ids from 0 to ",
              config.vocab_size - 1, " (the vocabulary of ", config.name, "), got ",
              lowest < 0 ? lowest : highest);
}

void Model::Impl::check_cache(const KvCache& cache, std::int64_t new_tokens) const {
  TORCH_CHECK(cache.num_layers() == config.num_layers, "cache: expected ", config.num_layers,
              " layers, got ", cache.num_layers());
  TORCH_CHECK(cache.length() + new_tokens <= cache.capacity(), "cache: ", cache.length(), " + ",
              new_tokens, " tokens do not fit its capacity of ", cache.capacity());
  if (config.num_layers == 0) return;
  TORCH_CHECK(cache.keys(0).scalar_type() == options.dtype, "cache: expected dtype ", options.dtype,
              " (as the model), got ", cache.keys(0).scalar_type());
  TORCH_CHECK(cache.keys(0).device() == options.device, "cache: expected device ", options.device,
              " (as the model), got ", cache.keys(0).device());
}

RopeTable Model::Impl::table(std::span<const SequenceRows> sequences) const {
  std::vector<at::Tensor> cos, sin;
  for (const SequenceRows& sequence : sequences) {
    RopeTable part = rope_table(rope, sequence.past, sequence.length);
    cos.push_back(std::move(part.cos));
    sin.push_back(std::move(part.sin));
  }
  if (cos.size() == 1) return {.cos = cos.front(), .sin = sin.front()};
  return {.cos = at::cat(cos), .sin = at::cat(sin)};
}

at::Tensor Model::Impl::run(const at::Tensor& tokens,
                            std::span<const SequenceRows> sequences) const {
  const at::Tensor hidden = at::embedding(embedding, tokens.to(options.device));
  if (hidden.size(0) == 0) return hidden;
  const RopeTable rope_rows = table(sequences);
  const std::int64_t rows_at_once = mlp_rows(config, options, hidden.size(0));
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    std::optional<DecoderLayer> loaded;
    if (stream_loader) loaded = stream_loader->layer(i);
    const DecoderLayer& layer = loaded ? *loaded : layers[static_cast<std::size_t>(i)];
    layer.attention.add_to(hidden, layer.attention_norm(hidden), rope_rows, sequences, i,
                           after_part);
    for (const at::Tensor& rows : hidden.split(rows_at_once))
      layer.mlp.add_to(rows, layer.mlp_norm(rows));
    if (after_part) after_part(LayerPart::kMlp);
  }
  return final_norm(hidden);
}

Model::Model(const ModelConfig& config, const Checkpoint& checkpoint, const ModelOptions& options) {
  require_device(options.device);
  check_dtype(options);
  check_tensors(config, checkpoint);
  impl_ = std::make_unique<Impl>(config, std::make_unique<CheckpointWeights>(checkpoint), options);
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Model Model::random(const ModelConfig& config, const ModelOptions& options, std::uint64_t seed) {
  require_device(options.device);
  check_dtype(options);
  TORCH_CHECK(!options.stream_layers,
              "Model::random: stream_layers: random weights are drawn once and stay in memory");
  return Model(std::make_unique<Impl>(config, std::make_unique<RandomWeights>(options.device, seed),
                                      options));
}

Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

const ModelConfig& Model::config() const {
  return impl_->config;
}

const ModelOptions& Model::options() const {
  return impl_->options;
}

std::int64_t Model::prefill_chunk(std::int64_t length) const {
  if (impl_->options.device.is_cpu()) return kDefaultPrefillChunk;
  return rows_that_fit(impl_->config, impl_->options, length,
                       available_memory(impl_->options.device));
}

std::int64_t Model::prefill_chunk(std::int64_t length, std::optional<std::int64_t> asked,
                                  const Attention* attention) const {
  if (asked.value_or(1) < 1) {
    throw std::invalid_argument(fmt::format("prefill chunk: expected at least 1, got {}", *asked));
  }
  if (attention == nullptr || !attention->wants_whole_prompt()) {
    return asked ? *asked : prefill_chunk(length);
  }
  if (asked && *asked < length) {
    throw std::invalid_argument(
        fmt::format("prefill chunk {}: the policy looks at the prompt's last queries and needs its "
                    "{} tokens at once; leave the prefill chunk out",
                    *asked, length));
  }
  return length;
}

void Model::watch_parts(std::function<void(LayerPart)> after_part) {
  impl_->after_part = std::move(after_part);
}

at::Tensor Model::forward(const at::Tensor& tokens, KvCache& cache, Attention* attention) const {
  const c10::InferenceMode inference;
  impl_->check_tokens(tokens);
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(0) == cache.batch(),
              "tokens: expected [batch, length] with batch ", cache.batch(),
              " (as the cache), got ", tokens.sizes());
  TORCH_CHECK(attention == nullptr || tokens.size(0) == 1,
              "attention: expected batch 1, since it is that of one sequence, got ",
              tokens.size(0));
  const std::int64_t length = tokens.size(1);
  impl_->check_cache(cache, length);
  std::vector<SequenceRows> sequences;
  for (std::int64_t row = 0; row < tokens.size(0); ++row) {
    sequences.push_back({.cache = &cache,
                         .cache_row = row,
                         .first = row * length,
                         .length = length,
                         .past = cache.length(),
                         .attention = attention != nullptr ? attention : &impl_->dense});
  }
  const at::Tensor hidden = impl_->run(tokens.reshape({-1}), sequences);
  cache.advance(length);
  return hidden.view({tokens.size(0), length, impl_->config.hidden_size});
}

std::vector<at::Tensor> Model::forward_each(const std::vector<at::Tensor>& tokens,
                                            std::span<KvCache> caches,
                                            std::span<Attention* const> attentions) const {
  const c10::InferenceMode inference;
  TORCH_CHECK(attentions.empty() || attentions.size() == tokens.size(),
              "attentions: expected none or one for each of the ", tokens.size(),
              " sequences, got ", attentions.size());
  TORCH_CHECK(tokens.size() == caches.size(), "caches: expected one for each of the ",
              tokens.size(), " sequences, got ", caches.size());
  std::vector<SequenceRows> sequences;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    impl_->check_tokens(tokens[i]);
    TORCH_CHECK(tokens[i].dim() == 1, "tokens: expected [length], got ", tokens[i].sizes());
    TORCH_CHECK(caches[i].batch() == 1, "caches: expected batch 1, got ", caches[i].batch());
    const std::int64_t length = tokens[i].size(0);
    impl_->check_cache(caches[i], length);
    if (length == 0) continue;
    sequences.push_back({.cache = &caches[i],
                         .cache_row = 0,
                         .first = first,
                         .length = length,
                         .past = caches[i].length(),
                         .attention = attentions.empty() ? &impl_->dense : attentions[i]});
    first += length;
  }
  std::vector<at::Tensor> hidden;
  const at::Tensor packed = tokens.empty() ? at::Tensor() : impl_->run(at::cat(tokens), sequences);
  first = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    hidden.push_back(packed.narrow(0, first, tokens[i].size(0)));
    first += tokens[i].size(0);
    caches[i].advance(tokens[i].size(0));
  }
  return hidden;
}

at::Tensor Model::logits(const at::Tensor& hidden) const {
  const c10::InferenceMode inference;
  TORCH_CHECK(impl_->output.weight.defined(),
              "Model::logits: a model with stream_layers has no output matrix in memory");
  return impl_->output(hidden).to(at::kFloat);
}

}  // namespace seer
