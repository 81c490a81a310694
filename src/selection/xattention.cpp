#include "selection/xattention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "selection/grouped_products.h"

namespace seer {
namespace {

// Zeros behind dimension `dim` up to a multiple of `multiple`.
at::Tensor filled_up(const at::Tensor& x, std::int64_t dim, std::int64_t multiple) {
  const std::int64_t missing = (multiple - x.size(dim) % multiple) % multiple;
  if (missing == 0) return x;
  std::vector<std::int64_t> padding(2 * static_cast<std::size_t>(x.dim() - dim), 0);
  padding.back() = missing;
  return at::constant_pad_nd(x, padding);
}

// [1, heads, groups, stride, d]
at::Tensor groups_of(const at::Tensor& x, std::int64_t stride) {
  const at::Tensor filled = filled_up(x, 2, stride);
  return filled.reshape({1, x.size(1), filled.size(2) / stride, stride, x.size(3)});
}

}  // namespace

at::Tensor xattention_probabilities(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                                    std::int64_t stride) {
  const std::int64_t heads = q.size(1), block_size = grid.block_size;
  const std::int64_t of_block = block_size / stride;  // groups
  const double scale =
      1 / (std::sqrt(static_cast<double>(q.size(3))) * static_cast<double>(stride));
  const at::Tensor keys = groups_of(k, stride).flatten(3);
  const at::Tensor scores =
      at::zeros({heads, grid.q_blocks(), grid.kv_blocks()}, q.options().dtype(at::kFloat));
  const std::int64_t rows = rows_at_once(heads, of_block, keys.size(2));
  for (std::int64_t row = 0; row < grid.q_blocks(); row += rows) {
    const std::int64_t first = row * block_size;
    const std::int64_t queries = std::min(rows * block_size, grid.q_len - first);
    // The groups of this piece as a grid of their own.
    const BlockGrid groups = {
        .q_len = queries, .kv_len = grid.past() + first + queries, .block_size = stride};
    const at::Tensor reversed = groups_of(q.narrow(2, first, queries), stride).flip(3).flatten(3);
    const at::Tensor logits =
        grouped_products(reversed, keys.narrow(2, 0, groups.kv_blocks())).mul_(scale);
    logits.masked_fill_(groups.visible_mask(q.device()).logical_not(),
                        -std::numeric_limits<float>::infinity());
    const at::Tensor map = filled_up(filled_up(at::softmax(logits, -1), 2, of_block), 1, of_block);
    const std::int64_t q_blocks = map.size(1) / of_block, kv_blocks = map.size(2) / of_block;
    scores.narrow(1, row, q_blocks)
        .narrow(2, 0, kv_blocks)
        .copy_(map.view({heads, q_blocks, of_block, kv_blocks, of_block}).sum({2, 4}));
  }
  // The groups of each row: fewer in a last, partial one.
  scores.div_(static_cast<double>(of_block));
  const std::int64_t rest = grid.q_len % block_size;
  if (rest > 0) {
    const std::int64_t groups = (rest + stride - 1) / stride;
    scores.narrow(1, grid.q_blocks() - 1, 1)
        .mul_(static_cast<double>(of_block) / static_cast<double>(groups));
  }
  return scores.unsqueeze(0);
}

}  // namespace seer
