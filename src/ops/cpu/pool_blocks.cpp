#include "ops/pool_blocks.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "base/cpu_isa.h"
#include "kernels/pool_blocks/cpu.h"
#include "kernels/pool_blocks/reference.h"

namespace seer {
namespace {

at::Tensor pool_blocks_cpu_key(const at::Tensor& x, std::int64_t block_size,
                               std::string_view kinds) {
  const PreparedPoolBlocks prepared = prepare_pool_blocks(x, block_size, kinds);
  const PoolBlocksParams& params = prepared.params;
  if (prepared.out.numel() == 0) return prepared.out;

  const std::int64_t num_blocks = params.batch * params.heads * prepared.out.size(2);
  // About 32k elements a task: enough to pay for waking a thread.
  const std::int64_t grain =
      std::max<std::int64_t>(1, 32768 / (params.block_size * params.head_dim));
  if (params.element == Element::kFloat64) {
    at::parallel_for(0, num_blocks, grain, [&](std::int64_t begin, std::int64_t end) {
      pool_blocks_reference(params, begin, end);
    });
  } else {
    const CpuIsa isa = cpu_isa();
    at::parallel_for(0, num_blocks, grain, [&](std::int64_t begin, std::int64_t end) {
      pool_blocks_cpu(params, isa, begin, end);
    });
  }
  return prepared.out;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("pool_blocks", &pool_blocks_cpu_key);
}

}  // namespace seer
