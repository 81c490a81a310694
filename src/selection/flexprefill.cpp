#include "selection/flexprefill.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/special_entr.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/ceil_div.h"
#include "seer/ops.h"
#include "selection/grouped_products.h"
#include "selection/head_selection.h"
#include "selection/line_scores.h"

namespace seer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double scale_of(const at::Tensor& q) {
  return 1 / std::sqrt(static_cast<double>(q.size(3)));
}

// What the representative queries tell about each head.
struct Heads {
  at::Tensor is_query_aware;      // bool [heads]
  at::Tensor columns, diagonals;  // float32 [heads, kv_blocks]: mass, summed over the queries
  at::Tensor k_means;             // [1, num_kv_heads, kv_blocks, d]
};

Heads look_at_heads(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid, double tau) {
  const std::int64_t queries = std::min(grid.block_size, grid.q_len);
  const LineSums sums = line_sums(attention_of_last(q, k, queries), grid.block_size);
  Heads heads;
  heads.columns = sums.columns.sum(2);
  heads.diagonals = sum_of_diagonals(sums.distances);
  heads.k_means = pool_blocks(k, grid.block_size, "avg");
  const at::Tensor q_mean =
      q.narrow(2, grid.q_len - queries, queries).to(at::kFloat).mean(2, /*keepdim=*/true);
  const at::Tensor estimate = at::softmax(
      grouped_products(q_mean, heads.k_means.to(at::kFloat)).squeeze(1).mul_(scale_of(q)), -1);
  const at::Tensor truth = heads.columns / static_cast<double>(queries);
  // JS as the middle's entropy less the mean one of both: no logarithm of 0.
  const at::Tensor divergence =
      at::special_entr((truth + estimate) / 2).sum(-1) -
      (at::special_entr(truth).sum(-1) + at::special_entr(estimate).sum(-1)) / 2;
  heads.is_query_aware = divergence.clamp_min(0).sqrt() < tau;
  return heads;
}

// The pooled estimate of all rows: float32 [heads, q_blocks, kv_blocks], each row's sum is 1.
at::Tensor pooled_map(const at::Tensor& q, const Heads& heads, const BlockGrid& grid) {
  const at::Tensor logits =
      grouped_products(pool_blocks(q, grid.block_size, "avg"), heads.k_means).mul_(scale_of(q));
  logits.masked_fill_(grid.visible_mask(q.device()).logical_not(), -kInfinity);
  return at::softmax(logits, -1);
}

}  // namespace

at::Tensor flexprefill_is_query_aware(const at::Tensor& q, const at::Tensor& k,
                                      const BlockGrid& grid, double tau) {
  return look_at_heads(q, k, grid, tau).is_query_aware;
}

at::Tensor flexprefill_scores(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                              double tau) {
  const Heads heads = look_at_heads(q, k, grid, tau);
  const at::Tensor map =
      at::where(heads.is_query_aware.view({-1, 1, 1}), pooled_map(q, heads, grid),
                map_of_lines(heads.columns, heads.diagonals, grid));
  return map.masked_fill(grid.ends_mask(1, 1, q.device()), kInfinity).unsqueeze(0);
}

at::Tensor flexprefill_mask(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                            double tau, double mass, std::int64_t min_budget) {
  const Heads heads = look_at_heads(q, k, grid, tau);
  const at::Tensor is_query_aware = heads.is_query_aware.unsqueeze(1);
  const std::int64_t least = std::max<std::int64_t>(1, ceil_div(min_budget, grid.block_size));
  // Block 0 is the first column, and the diagonal of the last visible blocks. A query-aware head has only the least.
  const auto lines = [&](const at::Tensor& sums) {
    at::Tensor first = at::zeros_like(sums, sums.options().dtype(at::kBool));
    first.narrow(1, 0, 1).fill_(true);
    return at::where(is_query_aware, fewest_with_mass(sums, first, 0, least),
                     fewest_with_mass(sums, first, mass, least))
        .to(at::kFloat);
  };
  at::Tensor mask = map_of_lines(lines(heads.columns), lines(heads.diagonals), grid) > 0;
  // Worth the wait for a GPU: sorting the maps of all heads is not.
  if (is_query_aware.any().item<bool>()) {
    const at::Tensor map = pooled_map(q, heads, grid);
    const at::Tensor kept = fewest_with_mass(map.flatten(1), {}, mass, 1).view_as(map);
    mask = mask | (kept & is_query_aware.unsqueeze(2));
  }
  return (mask & grid.visible_mask(q.device())).unsqueeze(0);
}

}  // namespace seer
