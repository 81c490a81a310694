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

}  // namespace

DeviceCall::DeviceCall(const char* op, const at::Tensor& tensor)
    : guard_(tensor.device()), device_(checked_device(op, tensor.device().index())) {
  use_cuda_device(tensor.device().index());
  const c10::Stream stream =
      c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(tensor.device());
  stream_ = static_cast<CUstream_st*>(stream.native_handle());
}

}  // namespace seer
