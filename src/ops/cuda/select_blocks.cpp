#include "ops/select_blocks.h"

#include <torch/library.h>

#include "kernels/select_blocks/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

at::Tensor select_blocks_cuda_key(const at::Tensor& scores, std::string_view policy,
                                  std::int64_t q_len, std::int64_t kv_len,
                                  std::int64_t block_size) {
  const PreparedSelectBlocks prepared =
      prepare_select_blocks(scores, policy, q_len, kv_len, block_size);
  const DeviceCall call("select_blocks", scores);
  select_blocks_cuda(prepared.params, call.stream());
  return prepared.mask;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("select_blocks", &select_blocks_cuda_key);
}

}  // namespace seer
