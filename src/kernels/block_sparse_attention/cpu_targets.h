// The attention kernel of each instruction set; cpu.cpp and cpu_avx512_bf16.cpp define them.
#pragma once

#include "kernels/block_sparse_attention/layout.h"

namespace seer {

// Which query block of which heads a tile computes.
struct TileIndex {
  std::int64_t batch;
  std::int64_t kv_head;
  std::int64_t first_head;  // query head
  std::int64_t num_heads;   // query heads, all of kv_head's group
  std::int64_t q_block;
};

// One compiled variant of the kernel.
struct AttentionTarget {
  std::int64_t panel_width;
  void (*run)(const AttentionParams& params, const TileLayout& layout, const TileIndex& at,
              void* scratch);
};

// bfloat16 with the BF16 dot product.
AttentionTarget avx512_bf16_attention_target();

}  // namespace seer
