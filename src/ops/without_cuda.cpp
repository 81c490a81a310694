// What a build without CUDA kernels says of GPUs; ops/cuda/cuda_devices.cpp stands in its place in the others.
#include "seer/cuda_devices.h"

namespace seer {

CudaSupport cuda_support() {
  return {};
}

}  // namespace seer
