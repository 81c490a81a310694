// The attention kernel of each instruction set; cpu.cpp and cpu_avx512_bf16.cpp define them.
#pragma once

#include "kernels/block_sparse_attention/layout.h"

namespace seer {

// One compiled variant of the kernel.
struct AttentionTarget {
  std::int64_t panel_width;
  // Runs the tile of query block `q_block` of query head `q_head` of batch entry `batch`.
  void (*run)(const AttentionParams& params, const TileLayout& layout, std::int64_t batch,
              std::int64_t q_head, std::int64_t q_block, void* scratch);
};

// bfloat16 with the BF16 dot product; only where the compiler can target it.
AttentionTarget avx512_bf16_attention_target();

}  // namespace seer
