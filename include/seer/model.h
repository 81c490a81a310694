// A decoder model: Llama, Mistral, Qwen2, Qwen3.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "seer/attention.h"
#include "seer/checkpoint.h"
#include "seer/config.h"

namespace seer {

struct ModelOptions {
  at::ScalarType dtype = at::kFloat;  // of weights and activations: float32 or bfloat16
  AttentionBackend attention = AttentionBackend::kSeer;  // of dense attention
  // The weights of one layer are in memory at a time: each pass reads them from the checkpoint again. logits() is then
  // an error.
  bool stream_layers = false;
};

// Keys (after RoPE) and values of every layer for the tokens seen so far, preallocated for `capacity` tokens.
class KvCache {
 public:
  KvCache(const ModelConfig& config, std::int64_t batch, std::int64_t capacity,
          at::ScalarType dtype);
  // For one sequence that runs at once and whose keys nobody needs afterwards: all layers share the room of one.
  static KvCache one_layer(const ModelConfig& config, std::int64_t capacity, at::ScalarType dtype);

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
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const ModelConfig& config() const;
  const ModelOptions& options() const;

  // Runs tokens [batch, length] (int64, on the CPU) after the cache's and appends to it. Returns the hidden states after
  // the final norm, [batch, length, hidden_size]: inference tensors, which autograd knows nothing of. `attention` is how
  // the layers attend; null: densely. With one, batch is 1, and its begin() was called.
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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
