#include "selection/quest.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "seer/ops.h"
#include "selection/grouped_products.h"

namespace seer {
namespace {

// bool [queries, blocks]: whether the query does not see the block's first key.
at::Tensor is_hidden(std::int64_t first_position, std::int64_t queries, std::int64_t blocks,
                     std::int64_t block_size, c10::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor positions = at::arange(queries, options).unsqueeze(1) + first_position;
  return at::arange(blocks, options).unsqueeze(0) * block_size > positions;
}

}  // namespace

at::Tensor quest_scores(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid) {
  const std::int64_t heads = q.size(1), block_size = grid.block_size;
  const at::Tensor extremes = pool_blocks(k, block_size, "maxmin");
  const at::Tensor scores =
      at::zeros({heads, grid.q_blocks(), grid.kv_blocks()}, q.options().dtype(at::kFloat));
  const std::int64_t rows = rows_at_once(heads, block_size, grid.kv_blocks());
  for (std::int64_t row = 0; row < grid.q_blocks(); row += rows) {
    const std::int64_t first = row * block_size;
    const std::int64_t queries = std::min(rows * block_size, grid.q_len - first);
    const BlockGrid piece = {
        .q_len = queries, .kv_len = grid.past() + first + queries, .block_size = block_size};
    const std::int64_t blocks = piece.kv_blocks();
    const at::Tensor part = q.narrow(2, first, queries);
    at::Tensor bounds = grouped_products(at::cat({part.clamp_min(0), part.clamp_max(0)}, -1),
                                         extremes.narrow(2, 0, blocks));
    // Where rows begin with blocks, each query of a row sees the beginning of every block that the row sees.
    if (grid.past() % block_size != 0) {
      bounds.masked_fill_(is_hidden(piece.past(), queries, blocks, block_size, q.device()),
                          -std::numeric_limits<float>::infinity());
    }
    const auto rows_of = [&](std::int64_t from, std::int64_t count) {
      return scores.narrow(1, row + from, count).narrow(2, 0, blocks);
    };
    const std::int64_t whole = queries / block_size, rest = queries % block_size;
    if (whole > 0) {
      rows_of(0, whole).copy_(
          bounds.narrow(1, 0, whole * block_size).view({heads, whole, block_size, blocks}).amax(2));
    }
    if (rest > 0) {
      rows_of(whole, 1).copy_(bounds.narrow(1, whole * block_size, rest).amax(1, /*keepdim=*/true));
    }
  }
  return scores.mul_(1 / std::sqrt(static_cast<double>(q.size(3)))).unsqueeze(0);
}

}  // namespace seer
