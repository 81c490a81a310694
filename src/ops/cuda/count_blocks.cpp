#include "ops/count_blocks.h"

#include <torch/library.h>

#include "kernels/count_blocks/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

at::Tensor count_blocks_cuda_key(const at::Tensor& block_mask) {
  const at::Tensor count = prepare_count_blocks(block_mask);
  const DeviceCall call("count_blocks", block_mask);
  // The kernel reads 16 bytes at a time from the first one on.
  const bool is_as_needed = block_mask.is_contiguous() &&
                            reinterpret_cast<std::uintptr_t>(block_mask.const_data_ptr()) % 16 == 0;
  const at::Tensor mask =
      is_as_needed ? block_mask : block_mask.clone(at::MemoryFormat::Contiguous);
  count_blocks_cuda(static_cast<const std::uint8_t*>(mask.const_data_ptr()), mask.numel(),
                    count.mutable_data_ptr<std::int64_t>(), call.stream());
  return count;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("count_blocks", &count_blocks_cuda_key);
}

}  // namespace seer
