// What crosses from the operators to the kernels of attention's backward: plain data.
#pragma once

#include "base/tensor_layout.h"
#include "kernels/block_sparse_attention/params.h"

namespace seer {

// With P the probabilities of the forward and dP = grad_out v^T (Dao et al., FlashAttention, arXiv:2205.14135, appendix B.4):
//   dS = P * (dP - delta),  delta = rowsum(grad_out * out) - grad_lse
//   grad_q = scale dS k,  grad_k = scale dS^T q,  grad_v = P^T grad_out
// over the kept blocks alone. Gradients of a key/value head are sums over the query heads that share it. A query that sees
// no key, and a key that no query sees, gets zeros.
struct AttentionBackwardParams {
  // As the forward ran: out and lse are read here; block_map stays null.
  AttentionParams forward;

  const void* grad_out = nullptr;   // [batch, num_q_heads, q_len, head_dim]
  const float* grad_lse = nullptr;  // null (zeros) or [batch, num_q_heads, q_len], contiguous
  void* grad_q = nullptr;           // [batch, num_q_heads, q_len, head_dim]
  void* grad_k = nullptr;           // [batch, num_kv_heads, kv_len, head_dim]
  void* grad_v = nullptr;           // [batch, num_kv_heads, kv_len, head_dim]
  Strides grad_out_strides, grad_q_strides, grad_k_strides, grad_v_strides;
};

}  // namespace seer
