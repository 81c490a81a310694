#include "model/device_rows.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "base/ceil_div.h"

namespace seer {
namespace {

constexpr std::int64_t kMlpRowsOnCpu = 2048;  // enough for the matrix products
// On a GPU larger products are faster: rows are so many that the widest activations take at most this.
constexpr std::int64_t kMlpBytesOnGpu = std::int64_t{1} << 30;
constexpr std::int64_t kMlpRowMultiple = 256;  // of a GPU's tiles

constexpr std::int64_t kChunkMultiple = 1024;  // whole blocks of any size
// Besides activations: workspaces of the matrix library, logits, what the allocator cannot use between tensors.
constexpr std::int64_t kReserveBytes = std::int64_t{3} << 29;
constexpr std::int64_t kFragmentsPercent = 10;
constexpr std::int64_t kSmallestBlock = 64;  // of maps
// A gate's logits and probabilities (float32), and the mask, of a block.
constexpr std::int64_t kBytesOfMapEntry = 9;

std::int64_t element_bytes(const ModelOptions& options) {
  return static_cast<std::int64_t>(at::elementSize(options.dtype));
}

}  // namespace

std::int64_t mlp_rows(const ModelConfig& config, const ModelOptions& options, std::int64_t rows) {
  if (options.device.is_cpu()) return kMlpRowsOnCpu;
  const std::int64_t row_bytes = 2 * config.intermediate_size * element_bytes(options);
  const std::int64_t most = std::max(kMlpBytesOnGpu / row_bytes, kMlpRowMultiple);
  // Pieces of equal size: a small last one would leave the GPU half empty.
  const std::int64_t even = ceil_div(rows, ceil_div(rows, most));
  return ceil_div(even, kMlpRowMultiple) * kMlpRowMultiple;
}

std::int64_t rows_that_fit(const ModelConfig& config, const ModelOptions& options,
                           std::int64_t length, std::uint64_t bytes) {
  const std::int64_t q_width = config.num_q_heads * config.head_dim;
  const std::int64_t kv_width = config.num_kv_heads * config.head_dim;
  // Alive in attention: the residual stream, the normed input, the projection, turned queries, the attended.
  std::int64_t widths = 2 * config.hidden_size + 3 * q_width + 2 * kv_width;
  if (config.qk_norm) widths += q_width + kv_width;
  const std::int64_t rope = 4 * config.head_dim;  // cos and sin, float32
  const std::int64_t maps = ceil_div(
      config.num_q_heads * ceil_div(length, kSmallestBlock) * kBytesOfMapEntry, kSmallestBlock);
  const std::int64_t row_bytes =
      (widths * element_bytes(options) + rope + maps) * (100 + kFragmentsPercent) / 100;
  // The activated gate is half as wide.
  const std::int64_t fixed = kReserveBytes + kMlpBytesOnGpu / 2 * 3;
  const std::int64_t left = std::max<std::int64_t>(static_cast<std::int64_t>(bytes) - fixed, 0);
  const std::int64_t rows = left / row_bytes;
  if (rows >= length) return std::max<std::int64_t>(length, 1);
  return std::max(rows / kChunkMultiple, std::int64_t{1}) * kChunkMultiple;
}

}  // namespace seer
