#include "selection/grouped_products.h"

#include <ATen/ops/bmm.h>

#include <algorithm>

namespace seer {
namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{64} << 20;

}  // namespace

at::Tensor grouped_products(const at::Tensor& q, const at::Tensor& k) {
  const std::int64_t num_kv_heads = k.size(1);
  const at::Tensor rows =
      q[0].reshape({num_kv_heads, q.size(1) / num_kv_heads * q.size(2), q.size(3)});
  const at::Tensor columns = k[0].transpose(1, 2);
  // A GPU adds up half precision in float32 and can leave it so; on the CPU the result would be rounded.
  const at::Tensor products = q.is_cuda() && q.scalar_type() != at::kFloat
                                  ? at::bmm(rows, columns, at::kFloat)
                                  : at::bmm(rows.to(at::kFloat), columns.to(at::kFloat));
  return products.view({q.size(1), q.size(2), k.size(2)});
}

std::int64_t rows_at_once(std::int64_t heads, std::int64_t tokens, std::int64_t columns) {
  return std::max<std::int64_t>(1, kPieceBytes / (4 * heads * tokens * columns));
}

}  // namespace seer
