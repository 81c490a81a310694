#include "selection/head_selection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <tuple>

namespace seer {

at::Tensor highest_of_heads(const at::Tensor& scores, std::int64_t blocks) {
  const at::Tensor order = scores.flip(1).flatten(1);
  const std::int64_t kept = std::clamp<std::int64_t>(blocks, 1, order.size(1));
  const at::Tensor lowest = std::get<0>(order.kthvalue(order.size(1) - kept + 1, 1, true));
  const at::Tensor above = order > lowest;
  const at::Tensor equal = order == lowest;
  const at::Tensor room = kept - above.sum(1, /*keepdim=*/true);
  const at::Tensor mask = above | (equal & (equal.cumsum(1, at::kInt) <= room));
  return mask.view_as(scores).flip(1);
}

at::Tensor fewest_with_mass(const at::Tensor& x, const at::Tensor& first, double share,
                            std::int64_t least) {
  const at::Tensor total = x.sum(-1, /*keepdim=*/true, at::kDouble);
  // More than any number of the row.
  const at::Tensor ranked =
      first.defined() ? x + first.to(x.scalar_type()) * (total + 1).to(x.scalar_type()) : x;
  const at::Tensor order = std::get<1>(ranked.sort(/*stable=*/true, -1, /*descending=*/true));
  const at::Tensor sorted = x.gather(-1, order).to(at::kDouble);
  const at::Tensor before = sorted.cumsum(-1) - sorted;
  const at::Tensor rank = at::arange(x.size(-1), order.options());
  const at::Tensor kept = (before < total * share) | (rank < least);
  return at::zeros_like(kept).scatter(-1, order, kept);
}

}  // namespace seer
