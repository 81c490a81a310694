#include "ops/gpu/gpu_test.h"

#include <cstdlib>
#include <string_view>

#include "seer/cuda_devices.h"

namespace seer::test {

std::string missing_gpu() {
  const CudaSupport support = cuda_support();
  if (!support.has_kernels) return "this build has no CUDA kernels ('make cuda' builds them)";
  if (support.devices.empty()) return "no GPU: " + support.problem;
  const CudaDeviceInfo& device = support.devices.front();
  if (!device.runs_kernels) {
    return "cuda:0 is " + device.name + ", and the kernels need compute capability 9.0 (Hopper)";
  }
  return "";
}

void GpuTest::SetUp() {
  static const std::string missing = missing_gpu();
  if (missing.empty()) return;
  const char* required = std::getenv("SEER_REQUIRE_GPU");
  if (required != nullptr && std::string_view(required) == "1") {
    FAIL() << "SEER_REQUIRE_GPU=1, but " << missing;
  }
  GTEST_SKIP() << missing;
}

}  // namespace seer::test
