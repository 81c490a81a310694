// The keys of a sequence as a gate sees them, kept while the sequence grows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "seer/gate.h"

namespace seer {

// Of one layer. Representatives of whole key blocks are computed once; the tokens of the last, partial block are kept
// before RoPE until it is whole. Memory: 1 / (k_tokens of the gate) of the keys'.
class KeyRepresentatives {
 public:
  // Forgets the tokens from `length` on, a multiple of the block size.
  void truncate(std::int64_t length, const Gate& gate);
  // k [1, num_kv_heads, tokens, head_dim] before RoPE; `features` are the gate's of them, or undefined. They may be given
  // where the tokens so far are whole blocks.
  void append(const at::Tensor& k, const at::Tensor& features, const Gate& gate);
  // [1, Hk, ceil(length / k_tokens), g] of all tokens so far.
  at::Tensor all(const Gate& gate) const;

 private:
  std::int64_t whole_ = 0;  // tokens in whole blocks
  at::Tensor reps_;         // [1, Hk, capacity, g], valid for whole_ tokens; undefined at first
  at::Tensor tail_;         // [1, num_kv_heads, less than a block, head_dim] or undefined
};

}  // namespace seer
