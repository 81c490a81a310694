#include "selection/line_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "selection/grouped_products.h"

namespace seer {
namespace {

// [heads, length] as [heads, blocks, block_size].
at::Tensor in_blocks(const at::Tensor& x, std::int64_t block_size) {
  const std::int64_t blocks = (x.size(1) + block_size - 1) / block_size;
  return at::constant_pad_nd(x, {0, blocks * block_size - x.size(1)})
      .view({x.size(0), blocks, block_size});
}

// [heads, keys]: the sum of attention [heads, queries, keys] at each distance. Row i of the mirrored matrix holds distance
// t in column t + queries - 1 - i, so that with as many zeros behind each row a distance is a slanted column.
at::Tensor sums_by_distance(const at::Tensor& attention) {
  const std::int64_t heads = attention.size(0), queries = attention.size(1),
                     keys = attention.size(2);
  const at::Tensor mirrored = at::constant_pad_nd(attention.flip(2), {0, queries - 1}).contiguous();
  const std::int64_t width = keys + queries - 1;
  return mirrored.as_strided({heads, queries, keys}, {queries * width, width - 1, 1}, queries - 1)
      .sum(1);
}

}  // namespace

at::Tensor attention_of_last(const at::Tensor& q, const at::Tensor& k, std::int64_t last) {
  const std::int64_t queries = std::min(last, q.size(2)), keys = k.size(2);
  at::Tensor logits = grouped_products(q.narrow(2, q.size(2) - queries, queries), k)
                          .mul_(1 / std::sqrt(static_cast<double>(q.size(3))));
  const at::Tensor later =
      at::ones({queries, queries}, logits.options().dtype(at::kBool)).triu_(/*diagonal=*/1);
  logits.narrow(2, keys - queries, queries)
      .masked_fill_(later, -std::numeric_limits<float>::infinity());
  return at::softmax(logits, -1);
}

LineSums line_sums(const at::Tensor& attention, std::int64_t block_size) {
  return {.columns = in_blocks(attention.sum(1), block_size),
          .distances = in_blocks(sums_by_distance(attention), block_size)};
}

at::Tensor largest_of_diagonals(const at::Tensor& distances) {
  const std::int64_t blocks = distances.size(1), block_size = distances.size(2);
  at::Tensor largest = distances.amax(2);
  if (blocks > 1) {
    const at::Tensor crossing =
        distances.narrow(1, 0, blocks - 1).narrow(2, 1, block_size - 1).amax(2);
    at::Tensor next = largest.narrow(1, 1, blocks - 1);
    next.copy_(at::maximum(next, crossing));
  }
  return largest;
}

at::Tensor sum_of_diagonals(const at::Tensor& distances) {
  const std::int64_t blocks = distances.size(1), block_size = distances.size(2);
  const at::Tensor share =
      at::arange(block_size, distances.options()).div_(static_cast<double>(block_size));
  const at::Tensor crossing = (distances * share).sum(2);
  at::Tensor sums = distances.sum(2) - crossing;
  if (blocks > 1) sums.narrow(1, 1, blocks - 1).add_(crossing.narrow(1, 0, blocks - 1));
  return sums;
}

at::Tensor map_of_lines(const at::Tensor& columns, const at::Tensor& diagonals,
                        const BlockGrid& grid) {
  TORCH_CHECK(grid.past() % grid.block_size == 0, "map_of_lines: ", grid.past(),
              " tokens before the queries: expected a multiple of ", grid.block_size);
  const auto options = at::TensorOptions(at::kLong).device(columns.device());
  const at::Tensor rows =
      at::arange(grid.q_blocks(), options).unsqueeze(1) + grid.past() / grid.block_size;
  const at::Tensor diagonal =
      (rows - at::arange(grid.kv_blocks(), options).unsqueeze(0)).clamp_min_(0);
  const at::Tensor of_diagonal = diagonals.index_select(1, diagonal.flatten())
                                     .view({columns.size(0), grid.q_blocks(), grid.kv_blocks()});
  return at::maximum(of_diagonal, columns.unsqueeze(1));
}

}  // namespace seer
