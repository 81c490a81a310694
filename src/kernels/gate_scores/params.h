// What crosses from the operators to the kernels of a gate's scores: plain data.
#pragma once

#include <cstdint>

#include "base/ceil_div.h"
#include "base/tensor_layout.h"
#include "kernels/select_blocks/params.h"

namespace seer {

// The score of a query block and a key block is the largest product of a representative of the one and one of the other.
struct GateScoresParams {
  const void* q_reps = nullptr;  // [batch, heads, ceil(q_len / q_tokens), width]
  const void* k_reps = nullptr;  // [batch, key_heads, ceil(kv_len / k_tokens), width]
  Strides q_strides;
  Strides k_strides;
  Element element = Element::kFloat32;  // of q_reps and k_reps
  float* logits =
      nullptr;  // [batch, heads, num_q_blocks, num_kv_blocks], contiguous; select_gate_blocks: none

  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t key_heads = 0;  // divides heads
  std::int64_t width = 0;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;  // at least q_len
  std::int64_t block_size = 64;
  std::int64_t q_tokens = 64;  // that a representative stands for: divide block_size
  std::int64_t k_tokens = 64;
  double scale = 1.0;

  std::int64_t num_q_blocks() const { return ceil_div(q_len, block_size); }
  std::int64_t num_kv_blocks() const { return ceil_div(kv_len, block_size); }
};

// The choice from such scores. `selection` says by what rule and where the mask is; its scores are not used. kThreshold and
// kMass take the softmax of a row's logits, kTopBlocks the logits.
struct SelectGateBlocksParams {
  GateScoresParams scores;
  SelectBlocksParams selection;
  const float* thresholds = nullptr;  // kThreshold: [heads], or none: selection.threshold
};

}  // namespace seer
