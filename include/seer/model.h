// A decoder model: Llama, Mistral, Qwen2, Qwen3.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "seer/attention.h"
#include "seer/checkpoint.h"
#include "seer/config.h"

namespace seer {

struct ModelOptions {
  // Of weights and activations: float32 or bfloat16; on a GPU bfloat16 or float16.
  at::ScalarType dtype = at::kFloat;
  AttentionBackend attention = AttentionBackend::kSeer;  // of dense attention
  // The weights of one layer are in memory at a time: each pass reads them from the checkpoint again. logits() is then
  // an error.
  bool stream_layers = false;
  c10::Device device = c10::kCPU;  // where weights are and where the layers run

  at::TensorOptions tensors() const { return at::TensorOptions(dtype).device(device); }
};

// What a layer's time goes to.
enum class LayerPart { kProjections, kSelection, kAttention, kMlp };

// Keys (after RoPE) and values of every layer for the tokens seen so far, preallocated for `capacity` tokens.
class KvCache {
 public:
  // `options`: dtype and device, those of the model (ModelOptions::tensors()).
  KvCache(const ModelConfig& config, std::int64_t batch, std::int64_t capacity,
          const at::TensorOptions& options);
  // For one sequence that runs at once and whose keys nobody needs afterwards: all layers share the room of one.
  static KvCache one_layer(const ModelConfig& config, std::int64_t capacity,
                           const at::TensorOptions& options);

  std::int64_t batch() const { return batch_; }
  std::int64_t capacity() const { return capacity_; }
  std::int64_t length() const { return length_; }
  std::int64_t num_layers() const { return static_cast<std::int64_t>(keys_.size()); }
  // Of a layer: [batch, num_kv_heads, capacity, head_dim]; valid up to length().
  const at::Tensor& keys(std::int64_t layer) const {
    return keys_.at(static_cast<std::size_t>(layer));
  }
  const at::Tensor& values(std::int64_t layer) const {
    return values_.at(static_cast<std::size_t>(layer));
  }
  // Forgets the tokens from `length` on.
  void truncate(std::int64_t length);
  // Makes room for at least `capacity` tokens; what is in the cache stays.
  void reserve(std::int64_t capacity);
  // Counts tokens that were written behind length().
  void advance(std::int64_t tokens);

 private:
  std::int64_t batch_, capacity_, length_ = 0;
  std::vector<at::Tensor> keys_, values_;
};

class Model {
 public:
  // Checks that the checkpoint holds exactly the tensors the configuration asks for, with their shapes, and loads them.
  // With stream_layers the checkpoint must outlive the model.
  Model(const ModelConfig& config, const Checkpoint& checkpoint, const ModelOptions& options);
  // A model of this shape with random weights, drawn on its device: for measurements. Layers cannot be streamed.
  static Model random(const ModelConfig& config, const ModelOptions& options, std::uint64_t seed);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const ModelConfig& config() const;
  const ModelOptions& options() const;

  // Runs tokens [batch, length] (int64, on the CPU) after the cache's and appends to it. Returns the hidden states after
  // the final norm, [batch, length, hidden_size]: inference tensors, which autograd knows nothing of. `attention` is how
  // the layers attend; null: densely. With one, batch is 1, and its begin() was called. On a GPU the work is queued, and
  // nothing waits for it.
  at::Tensor forward(const at::Tensor& tokens, KvCache& cache,
                     Attention* attention = nullptr) const;
  // The same for sequences of different lengths, each a [length] with a cache of its own (batch 1): they are packed
  // without padding, so that none sees another. `attentions` is empty or has one for each sequence. Returns
  // [length, hidden_size] of each.
  std::vector<at::Tensor> forward_each(const std::vector<at::Tensor>& tokens,
                                       std::span<KvCache> caches,
                                       std::span<Attention* const> attentions = {}) const;
  // float32 logits [..., vocab_size] of hidden states [..., hidden_size].
  at::Tensor logits(const at::Tensor& hidden) const;

  // Of a prompt of `length` tokens, how many run best at once: kDefaultPrefillChunk on the CPU; on a GPU all of them, or
  // as many as have room beside what is there now: ask when the cache is there.
  std::int64_t prefill_chunk(std::int64_t length) const;
  // The same under an attention (null: dense) that may want the prompt at once, and where `asked`, if there, is the user's
  // own number. Throws std::invalid_argument for one below 1, or one that would cut such a prompt.
  std::int64_t prefill_chunk(std::int64_t length, std::optional<std::int64_t> asked,
                             const Attention* attention) const;

  // For measurements: called after each part of a layer (again and again, also several times for a part of one layer)
  // when its work was done, or queued on a GPU. The attention says itself where selection ends
  // (SparseAttentionOptions::on_mask). Null: nobody.
  void watch_parts(std::function<void(LayerPart)> after_part);

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
