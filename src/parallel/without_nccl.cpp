// Builds without CUDA, and those that found no nccl.h (cmake/nccl.cmake): gradients travel through the host's memory.
#include "parallel/nccl_backend.h"

namespace seer {

void set_nccl_defaults() {}

std::unique_ptr<NcclBackend> connect_nccl(c10d::Store& /*store*/, Heartbeat& /*heartbeat*/,
                                          int /*rank*/, int /*size*/, c10::Device /*device*/) {
  return nullptr;
}

}  // namespace seer
