#include "gate/block_products.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <tuple>

namespace seer {
namespace {

constexpr std::int64_t kProductsAtOnce = std::int64_t{1} << 25;  // 128 MB of float32

// With the last representative repeated until the last block has all of its own. The first of equal products is the real
// one's.
at::Tensor whole_blocks(const at::Tensor& reps, std::int64_t blocks, std::int64_t per_block) {
  const std::int64_t missing = blocks * per_block - reps.size(2);
  if (missing == 0) return reps;
  return at::cat({reps, reps.narrow(2, reps.size(2) - 1, 1).expand({-1, -1, missing, -1})}, 2);
}

// Rows of all heads of some query blocks, and what is as wide.
struct Part {
  const BlockPairs& pairs;
  std::int64_t first, blocks;  // query blocks
  at::Tensor q;                // [b, key heads, heads of a key head * rows, g]
  at::Tensor hidden;           // bool [blocks, key blocks]
};

template <typename Function>
void for_each_part(const BlockPairs& pairs, const at::Tensor& q, const at::Tensor& k,
                   const Function& function) {
  const std::int64_t batch = q.size(0), heads = q.size(1), key_heads = k.size(1);
  const std::int64_t of_block = batch * heads * pairs.rows_per_block * k.size(2);
  const std::int64_t at_once =
      std::max<std::int64_t>(1, kProductsAtOnce / std::max<std::int64_t>(1, of_block));
  const auto options = q.options().dtype(at::kLong);
  const at::Tensor key_blocks = at::arange(pairs.kv_blocks(), options);
  for (std::int64_t first = 0; first < pairs.q_blocks(); first += at_once) {
    const std::int64_t blocks = std::min(at_once, pairs.q_blocks() - first);
    // As BlockPairs::visible_blocks.
    const at::Tensor queries = ((at::arange(first, first + blocks, options) + 1) * pairs.block_size)
                                   .clamp_max(pairs.q_len);
    const at::Tensor last_key = queries + (pairs.kv_len - pairs.q_len - 1);
    function(Part{.pairs = pairs,
                  .first = first,
                  .blocks = blocks,
                  .q = q.narrow(2, first * pairs.rows_per_block, blocks * pairs.rows_per_block)
                           .reshape({batch, key_heads, -1, q.size(3)}),
                  .hidden = key_blocks.unsqueeze(0) * pairs.block_size > last_key.unsqueeze(1)});
  }
}

}  // namespace

LargestProducts largest_products(const BlockPairs& pairs, const at::Tensor& q_reps,
                                 const at::Tensor& k_reps, bool wants_pairs) {
  const std::int64_t batch = q_reps.size(0), heads = q_reps.size(1);
  const at::Tensor q = whole_blocks(q_reps, pairs.q_blocks(), pairs.rows_per_block);
  const at::Tensor k = whole_blocks(k_reps, pairs.kv_blocks(), pairs.keys_per_block);
  LargestProducts largest;
  largest.logits = at::empty({batch, heads, pairs.q_blocks(), pairs.kv_blocks()}, q.options());
  if (wants_pairs) largest.pair_of = at::empty(largest.logits.sizes(), q.options().dtype(at::kInt));
  for_each_part(pairs, q, k, [&](const Part& part) {
    const at::Tensor products =
        at::matmul(part.q, k.transpose(2, 3))
            .view({batch, heads, part.blocks, pairs.rows_per_block, k.size(2)});
    const auto [over_rows, row] = products.max(3);
    const auto [best, key] =
        over_rows.unflatten(3, {pairs.kv_blocks(), pairs.keys_per_block}).max(4);
    largest.logits.narrow(2, part.first, part.blocks)
        .copy_((best * pairs.scale)
                   .masked_fill_(part.hidden, -std::numeric_limits<double>::infinity()));
    if (!wants_pairs) return;
    const at::Tensor row_of_best = row.unflatten(3, {pairs.kv_blocks(), pairs.keys_per_block})
                                       .gather(4, key.unsqueeze(4))
                                       .squeeze(4);
    largest.pair_of.narrow(2, part.first, part.blocks)
        .copy_(row_of_best * pairs.keys_per_block + key);
  });
  return largest;
}

ProductGradients product_gradients(const BlockPairs& pairs, const at::Tensor& q_reps,
                                   const at::Tensor& k_reps, const at::Tensor& grad,
                                   const at::Tensor& pair_of) {
  const std::int64_t batch = q_reps.size(0), heads = q_reps.size(1);
  const at::Tensor q = whole_blocks(q_reps, pairs.q_blocks(), pairs.rows_per_block);
  const at::Tensor k = whole_blocks(k_reps, pairs.kv_blocks(), pairs.keys_per_block);
  const at::Tensor q_grad = at::empty(q.sizes(), q.options());
  const at::Tensor k_grad = at::zeros(k.sizes(), k.options());
  for_each_part(pairs, q, k, [&](const Part& part) {
    const auto of_part = [&](const at::Tensor& map) {
      return map.narrow(2, part.first, part.blocks);
    };
    // Each block's gradient goes to one product: [b, Hq, blocks, key blocks, rows of a block * keys of a block].
    at::Tensor products = at::zeros(
        {batch, heads, part.blocks, pairs.kv_blocks(), pairs.rows_per_block * pairs.keys_per_block},
        q.options());
    products.scatter_(4, of_part(pair_of).to(at::kLong).unsqueeze(4),
                      (of_part(grad) * pairs.scale).masked_fill_(part.hidden, 0).unsqueeze(4));
    products = products.unflatten(4, {pairs.rows_per_block, pairs.keys_per_block})
                   .transpose(3, 4)
                   .reshape({batch, k.size(1), part.q.size(2), k.size(2)});
    q_grad.narrow(2, part.first * pairs.rows_per_block, part.blocks * pairs.rows_per_block)
        .copy_(at::matmul(products, k)
                   .view({batch, heads, part.blocks * pairs.rows_per_block, q.size(3)}));
    k_grad.add_(at::matmul(products.transpose(2, 3), part.q));
  });
  return {q_grad.narrow(2, 0, q_reps.size(2)), k_grad.narrow(2, 0, k_reps.size(2))};
}

}  // namespace seer
