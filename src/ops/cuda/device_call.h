// What every CUDA operator does around its kernels.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/device/cuda.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// For the length of one operator's call: the tensor's device is the current one, for LibTorch and for the kernels, and
// `stream()` is LibTorch's current stream there. Needs no CUDA headers, neither LibTorch's nor the toolkit's.
class DeviceCall {
 public:
  // Throws c10::Error where the GPU is one that the kernels do not run on; `op` is named in the message.
  DeviceCall(const char* op, const at::Tensor& tensor);

  CUstream_st* stream() const { return stream_; }
  const CudaDevice& device() const { return device_; }

 private:
  c10::DeviceGuard guard_;
  const CudaDevice& device_;
  CUstream_st* stream_;
};

// The tensor, or a contiguous copy where the bulk copy engine (TMA) cannot read it: a row of it begins at no multiple of 16
// bytes, or a dimension is expanded (a stride of 0). The last dimension is contiguous.
at::Tensor readable_by_tma(const at::Tensor& tensor);

}  // namespace seer
