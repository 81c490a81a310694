#include "ops/rope_and_pool.h"

#include <torch/library.h>

#include "kernels/rope_and_pool/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

at::Tensor rope_and_pool_cuda_key(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                                  const at::Tensor& out, std::int64_t block_size,
                                  std::string_view kinds) {
  const PreparedRopeAndPool prepared = prepare_rope_and_pool(x, cos, sin, out, block_size, kinds);
  const DeviceCall call("rope_and_pool", x);
  rope_and_pool_cuda(prepared.params, call.stream());
  return prepared.pooled;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("rope_and_pool", &rope_and_pool_cuda_key);
}

}  // namespace seer
