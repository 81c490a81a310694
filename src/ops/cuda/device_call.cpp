#include "ops/cuda/device_call.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

namespace seer {
namespace {

const CudaDevice& checked_device(const char* op, int index) {
  const CudaDevice& device = cuda_device(index);
  TORCH_CHECK(
      device.runs_kernels(), op, ": the GPU cuda:", index, " (", device.name,
      ") has compute capability ", device.major, ".", device.minor,
      ": expected 9.0 (Hopper: H100, H200, GH200). Kernels for other GPUs are still to come; "
      "until then move the tensors to the CPU");
  return device;
}

constexpr std::int64_t kAlignedBytes = 16;

bool is_readable_by_tma(const at::Tensor& tensor) {
  if (reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) % kAlignedBytes != 0) return false;
  const std::int64_t elements = kAlignedBytes / static_cast<std::int64_t>(tensor.element_size());
  for (std::int64_t dim = 0; dim + 1 < tensor.dim(); ++dim) {
    const std::int64_t stride = tensor.stride(dim);
    if (tensor.size(dim) > 1 && (stride == 0 || stride % elements != 0)) return false;
  }
  return true;
}

}  // namespace

at::Tensor readable_by_tma(const at::Tensor& tensor) {
  return is_readable_by_tma(tensor) ? tensor : tensor.clone(at::MemoryFormat::Contiguous);
}

DeviceCall::DeviceCall(const char* op, const at::Tensor& tensor)
    : guard_(tensor.device()), device_(checked_device(op, tensor.device().index())) {
  use_cuda_device(tensor.device().index());
  const c10::Stream stream =
      c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(tensor.device());
  stream_ = static_cast<CUstream_st*>(stream.native_handle());
}

}  // namespace seer
