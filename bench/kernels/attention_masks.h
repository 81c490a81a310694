#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

namespace seer::bench {

// The causal block pattern of a problem, aligned at the end.
struct CausalBlocks {
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t block_size = 0;

  std::int64_t num_q_blocks() const;
  std::int64_t num_kv_blocks() const;
  std::int64_t num_visible(std::int64_t q_block) const;  // key blocks, from the first on
  std::int64_t visible_pairs(std::int64_t q_block, std::int64_t kv_block) const;  // of tokens
};

// bool [batch, heads, query blocks, key blocks] on `device`. Each head keeps its own random share
// `density` of the causal triangle; the first block and those at the diagonal always are among the
// kept. On a GPU each other block is drawn by itself, so that the share is close to `density`.
at::Tensor random_block_mask(const CausalBlocks& blocks, std::int64_t batch, std::int64_t heads,
                             double density, std::uint64_t seed, c10::Device device = c10::kCPU);

// What a mask keeps, of one head on average.
struct KeptWork {
  double density = 0;           // of blocks
  double density_of_pairs = 0;  // of query-key pairs
  double pairs = 0;             // visible pairs inside kept blocks, all heads and batches together
};
KeptWork count_kept(const CausalBlocks& blocks, const at::Tensor& block_mask);

}  // namespace seer::bench
