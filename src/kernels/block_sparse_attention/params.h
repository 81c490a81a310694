// What crosses from the operators to the attention kernels: plain data.
#pragma once

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer {

struct AttentionParams {
  const void* q = nullptr;  // [batch, num_q_heads, q_len, head_dim]
  const void* k = nullptr;  // [batch, num_kv_heads, kv_len, head_dim]
  const void* v = nullptr;  // [batch, num_kv_heads, kv_len, head_dim]
  void* out = nullptr;      // [batch, num_q_heads, q_len, head_dim]
  float* lse = nullptr;     // [batch, num_q_heads, q_len], contiguous, natural logarithm
  Strides q_strides, k_strides, v_strides, out_strides;
  Element element = Element::kFloat32;  // of q, k, v and out

  std::int64_t batch = 0;
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t head_dim = 0;
  std::int64_t block_size = 64;
  bool is_causal = true;  // query i sees keys j <= i + kv_len - q_len
  double scale = 1.0;     // multiplies q.k before the softmax

  // Null: every block is kept. Else one byte a block, 0 or 1; the last dimension is contiguous. A
  // stride is 0 where the mask is shared; `mask_heads_per_group` query heads share one mask head.
  const std::uint8_t* block_mask = nullptr;  // [batch | 1, mask heads, q blocks, kv blocks]
  Strides mask_strides;
  std::int64_t mask_heads_per_group = 1;

  // Null: not wanted. Else the maximum softmax probability inside each block, 0 where nothing is
  // visible.
  float* block_map = nullptr;  // [batch, num_q_heads, q blocks, kv blocks], contiguous
};

}  // namespace seer
