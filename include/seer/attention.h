// How the layers of a model attend: dense by default, sparse under a policy (seer/sparse_attention.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace seer {

// What computes dense attention: the project's operator, or LibTorch's.
enum class AttentionBackend { kSeer, kSdpa };

// A pooling as pool_blocks() of seer/ops.h takes it: blocks of so many tokens, and kinds. 0 tokens: none is wanted.
struct BlockPooling {
  std::int64_t tokens = 0;
  std::string kinds;

  bool is_wanted() const { return tokens > 0; }
};
// Of queries and of keys before RoPE.
struct AttentionPooling {
  BlockPooling q, k;
};

// What a layer's attention sees: new tokens of one sequence. d: head_dim; q_len new tokens, the last of kv_len.
struct AttentionCall {
  std::int64_t layer = 0;
  at::Tensor
      q_before_rope;  // [1, num_q_heads, q_len, d], after the model's own q norm where it has one
  at::Tensor k_before_rope;  // [1, num_kv_heads, q_len, d]
  at::Tensor q;              // [1, num_q_heads, q_len, d]
  at::Tensor k, v;           // [1, num_kv_heads, kv_len, d]: with the cache's
  // pool_blocks() of q_before_rope and k_before_rope, where Attention::pooling() asked for it; else undefined.
  at::Tensor q_pools, k_pools;

  std::int64_t q_len() const { return q.size(2); }
  std::int64_t kv_len() const { return k.size(2); }
  // Tokens before the new ones.
  std::int64_t past() const { return kv_len() - q_len(); }
};

// The attention of all layers over one sequence. Model::forward calls attend() once a layer, in the layers' order, with
// tensors that must not be written to.
class Attention {
 public:
  Attention() = default;
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;
  virtual ~Attention();

  // Says what comes: the first `past` tokens of the sequence stay as they are, what was after them is forgotten, and a
  // prompt reaches up to `length`. Tokens after it are decoded. `past` is 0 or a multiple of past_multiple().
  virtual void begin(std::int64_t past, std::int64_t length);
  virtual std::int64_t past_multiple() const { return 1; }

  // Whether a prompt must come in one call: what is kept for its first tokens depends on its last ones.
  virtual bool wants_whole_prompt() const;

  // What the next call of attend(), of `layer` with new tokens behind `past`, wants pooled: the model does it while it
  // applies RoPE, which reads the same.
  virtual AttentionPooling pooling(std::int64_t layer, std::int64_t past) const;

  // [1, num_q_heads, q_len, d]
  virtual at::Tensor attend(const AttentionCall& call) = 0;
};

}  // namespace seer
