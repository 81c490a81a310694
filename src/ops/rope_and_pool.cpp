#include "ops/rope_and_pool.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/pool_blocks.h"
#include "ops/row_layers.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "rope_and_pool(Tensor x, Tensor cos, Tensor sin, Tensor(a!) out, int block_size, str kinds) "
      "-> Tensor");
}

at::Tensor rope_and_pool(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                         const at::Tensor& out, std::int64_t block_size, std::string_view kinds) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("seer::rope_and_pool", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                            const at::Tensor&, std::int64_t, std::string_view)>();
  return op.call(x, cos, sin, out, block_size, kinds);
}

namespace {

// [rows, heads, head_dim] as pool_blocks takes it.
at::Tensor by_head(const at::Tensor& x) {
  TORCH_CHECK(x.dim() == 3, "rope_and_pool: x: expected [rows, heads, head_dim], got ",
              x.sym_sizes());
  return x.transpose(0, 1).unsqueeze(0);
}

// Pooled first: `out` may be `x`. On the CPU reading twice costs little beside the arithmetic.
at::Tensor pool_then_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                          const at::Tensor& out, std::int64_t block_size, std::string_view kinds) {
  at::Tensor pooled = pool_blocks(by_head(x), block_size, kinds);
  rope(x, cos, sin, out);
  return pooled;
}

}  // namespace

PreparedRopeAndPool prepare_rope_and_pool(const at::Tensor& x, const at::Tensor& cos,
                                          const at::Tensor& sin, const at::Tensor& out,
                                          std::int64_t block_size, std::string_view kinds) {
  const PreparedPoolBlocks pool = prepare_pool_blocks(by_head(x), block_size, kinds);
  PreparedRopeAndPool prepared;
  prepared.params.rope = prepare_rope(x, cos, sin, out);
  prepared.params.pooled = pool.params.out;
  prepared.params.block_size = block_size;
  prepared.params.max = pool.params.max;
  prepared.params.min = pool.params.min;
  prepared.params.avg = pool.params.avg;
  prepared.pooled = pool.out;
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("rope_and_pool", &pool_then_turn);
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("rope_and_pool", &pool_then_turn);
}

TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("rope_and_pool", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
