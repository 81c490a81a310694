// Which GPUs this build of Seer can use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seer {

struct CudaDeviceInfo {
  std::string name;  // "NVIDIA H200"
  int major = 0;     // compute capability
  int minor = 0;
  int num_multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
  bool runs_kernels = false;  // compute capability 9.0 (Hopper): what the kernels are compiled for
};

struct CudaSupport {
  bool has_kernels = false;  // whether this build contains the CUDA kernels (`make cuda`)
  std::vector<CudaDeviceInfo>
      devices;          // in the order of cuda:0, cuda:1, ...; empty without kernels
  std::string problem;  // of a build with kernels: why there is no device
};

// Asks the driver anew on each call; changes nothing and never throws for what it finds.
CudaSupport cuda_support();

}  // namespace seer
