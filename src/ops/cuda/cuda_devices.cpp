#include "seer/cuda_devices.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <exception>

#include "kernels/device/cuda.h"

namespace seer {

CudaSupport cuda_support() {
  CudaSupport support;
  support.has_kernels = true;
  if (!c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA)) {
    support.problem = "the LibTorch that was loaded is a CPU build";
    return support;
  }
  const CudaDeviceCount found = count_cuda_devices();
  support.problem = found.problem;
  try {
    for (int index = 0; index < found.count; ++index) {
      const CudaDevice& device = cuda_device(index);
      support.devices.push_back({.name = device.name,
                                 .major = device.major,
                                 .minor = device.minor,
                                 .num_multiprocessors = device.num_multiprocessors,
                                 .memory_bytes = device.memory_bytes,
                                 .runs_kernels = device.runs_kernels()});
    }
  } catch (const std::exception& error) {
    support.devices.clear();
    support.problem = error.what();
  }
  return support;
}

}  // namespace seer
