// Causal attention of new queries over everything in the cache.
#pragma once

#include <ATen/core/Tensor.h>

#include "seer/attention.h"

namespace seer {

// q [1, num_q_heads, q_len, head_dim], k and v [1, num_kv_heads, kv_len, head_dim] (any strides with a contiguous last
// dimension): the last q_len of the kv_len tokens ask. Returns the shape of q. No tensor of q_len x kv_len is made.
at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           AttentionBackend backend);

class DenseAttention final : public Attention {
 public:
  explicit DenseAttention(AttentionBackend backend) : backend_(backend) {}
  at::Tensor attend(const AttentionCall& call) override {
    return dense_attention(call.q, call.k, call.v, backend_);
  }

 private:
  AttentionBackend backend_;
};

}  // namespace seer
