// Scores of key blocks that need no attention map.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

namespace seer {

// The blocks of one call: q_len queries at the end of kv_len keys.
struct BlockGrid {
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t block_size = 64;

  std::int64_t q_blocks() const { return (q_len + block_size - 1) / block_size; }
  std::int64_t kv_blocks() const { return (kv_len + block_size - 1) / block_size; }
  std::int64_t past() const { return kv_len - q_len; }
  // Key blocks that the last query of a row sees, a part of them included.
  std::int64_t visible_in_row(std::int64_t row) const;
  // Over all rows.
  std::int64_t visible() const;
  // bool [q_blocks, kv_blocks], made on the device.
  at::Tensor visible_mask(c10::Device device = c10::kCPU) const;
  // bool [q_blocks, kv_blocks]: the first `sink` and the last `local` visible blocks of each row.
  at::Tensor ends_mask(std::int64_t sink, std::int64_t local, c10::Device device = c10::kCPU) const;
};

// [1, 1, q_blocks, kv_blocks]: the first block highest, then the later the higher.
at::Tensor streaming_scores(const BlockGrid& grid, c10::Device device = c10::kCPU);

// [1, heads, q_blocks, kv_blocks], uniform in [0, 1): a function of seed, layer, head, and the blocks' places in the
// sequence, so that a prompt in chunks has the scores of the prompt at once. Made on the CPU.
at::Tensor random_scores(const BlockGrid& grid, std::uint64_t seed, std::int64_t layer,
                         std::int64_t heads);

}  // namespace seer
