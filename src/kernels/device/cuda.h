// The GPUs of this machine, for callers without CUDA's headers.
#pragma once

#include <cstddef>
#include <string>

namespace seer {

struct CudaDevice {
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int num_multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0;

  // The kernels are compiled for compute capability 9.0 alone: they use wgmma and TMA.
  bool runs_kernels() const { return major == 9 && minor == 0; }
};

struct CudaDeviceCount {
  int count = 0;
  std::string problem;  // why there is none, in the runtime's words; empty where there are some
};

CudaDeviceCount count_cuda_devices();

// Asked of the driver once per device and kept. Throws std::runtime_error for an index that does not exist.
const CudaDevice& cuda_device(int index);

// Makes the device current for this thread in the kernels' own copy of the CUDA runtime, which is linked statically and
// does not see what LibTorch's copy was told.
void use_cuda_device(int index);

}  // namespace seer
