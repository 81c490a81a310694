// Kernels that start while the one before them in the stream is still running (programmatic dependent launch).
#pragma once

#include <cuda_runtime.h>

#include "kernels/device/check.cuh"

namespace seer::hopper {

// Launches a kernel that may start as soon as all thread blocks of the kernel before it have called
// let_dependents_start() or ended. It must call wait_for_predecessor() before it touches what that kernel writes.
template <typename... Parameters, typename... Arguments>
void launch_dependent(const char* name, void (*kernel)(Parameters...), int thread_blocks,
                      int threads, int shared_bytes, cudaStream_t stream,
                      const Arguments&... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(thread_blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check_cuda(cudaLaunchKernelEx(&config, kernel, arguments...), name);
}

__device__ __forceinline__ void let_dependents_start() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
// Returns when the kernel before has ended and what it wrote can be seen. Without one, at once.
__device__ __forceinline__ void wait_for_predecessor() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

}  // namespace seer::hopper
