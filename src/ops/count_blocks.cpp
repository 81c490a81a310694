#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/count_blocks.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def("count_blocks(Tensor block_mask) -> Tensor");
}

at::Tensor count_blocks(const at::Tensor& block_mask) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::count_blocks", "")
                             .typed<at::Tensor(const at::Tensor&)>();
  return op.call(block_mask);
}

at::Tensor prepare_count_blocks(const at::Tensor& block_mask) {
  TORCH_CHECK(block_mask.scalar_type() == at::kBool,
              "count_blocks: block_mask: expected bool, got ", block_mask.scalar_type());
  return at::empty({}, block_mask.options().dtype(at::kLong));
}

namespace {

at::Tensor count_blocks_cpu_key(const at::Tensor& block_mask) {
  const at::Tensor count = prepare_count_blocks(block_mask);
  count.copy_(block_mask.sum());
  return count;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("count_blocks", &count_blocks_cpu_key);
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("count_blocks", &prepare_count_blocks);
}

TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("count_blocks", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
