#include "ops/pool_blocks.h"

#include <torch/library.h>

#include "kernels/pool_blocks/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

at::Tensor pool_blocks_cuda_key(const at::Tensor& x, std::int64_t block_size,
                                std::string_view kinds) {
  const PreparedPoolBlocks prepared = prepare_pool_blocks(x, block_size, kinds);
  const DeviceCall call("pool_blocks", x);
  pool_blocks_cuda(prepared.params, call.stream());
  return prepared.out;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("pool_blocks", &pool_blocks_cuda_key);
}

}  // namespace seer
