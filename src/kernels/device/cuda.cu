#include "kernels/device/cuda.h"

#include <map>
#include <mutex>

#include "kernels/device/check.cuh"

namespace seer {
namespace {

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, index), "cudaDeviceGetAttribute");
  return value;
}

CudaDevice ask(int index) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  return {.name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .num_multiprocessors = attribute(cudaDevAttrMultiProcessorCount, index),
          .memory_bytes = properties.totalGlobalMem,
          .l2_bytes = static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize, index))};
}

}  // namespace

CudaDeviceCount count_cuda_devices() {
  CudaDeviceCount found;
  const cudaError_t error = cudaGetDeviceCount(&found.count);
  if (error == cudaSuccess) return found;
  cudaGetLastError();  // this error is told; a later check must not meet it again
  return {0, std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error)};
}

const CudaDevice& cuda_device(int index) {
  static std::mutex mutex;
  static std::map<int, CudaDevice> known;  // its elements never move
  const std::lock_guard lock(mutex);
  const auto found = known.find(index);
  return found != known.end() ? found->second : known.emplace(index, ask(index)).first->second;
}

void use_cuda_device(int index) {
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
}

}  // namespace seer
