// Errors of the CUDA runtime as exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace seer {

// Throws std::runtime_error with the call's place and the runtime's words.
inline void check_cuda(cudaError_t error, const char* call,
                       std::source_location place = std::source_location::current()) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + " failed at " + place.file_name() + ":" +
                           std::to_string(place.line()) + ": " + cudaGetErrorName(error) + ", " +
                           cudaGetErrorString(error));
}

// After a launch: of its configuration, not of what the kernel does later.
inline void check_launch(const char* kernel,
                         std::source_location place = std::source_location::current()) {
  check_cuda(cudaGetLastError(), kernel, place);
}

}  // namespace seer
