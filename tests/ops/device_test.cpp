// Names of devices, and what is said where one cannot be used.
#include "seer/device.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace seer {
namespace {

TEST(Device, NamesAreParsed) {
  EXPECT_EQ(parse_device("cpu"), c10::Device(c10::kCPU));
  EXPECT_EQ(parse_device("cuda"), c10::Device(c10::kCUDA, 0));
  EXPECT_EQ(parse_device("cuda:3"), c10::Device(c10::kCUDA, 3));
  for (const char* wrong : {"", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:1x", "cuda:-1", "cuda:999",
                            "cuda 1", "cpu:0", "mps"}) {
    SCOPED_TRACE(wrong);
    try {
      parse_device(wrong);
      ADD_FAILURE() << "was accepted";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("expected cpu, cuda"), std::string::npos);
    }
  }
}

TEST(Device, CpuIsThere) {
  require_device(c10::kCPU);
  synchronize(c10::kCPU);
  EXPECT_GT(available_memory(c10::kCPU), 0U);
  EXPECT_GT(peak_memory(c10::kCPU), 0U);
}

// A device that no machine has: which of the reasons is given depends on the build and on the machine.
TEST(Device, SaysWhatIsMissing) {
  try {
    require_device({c10::kCUDA, 100});
    ADD_FAILURE() << "was accepted";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("device cuda:100: "), std::string::npos);
  }
}

TEST(Device, TypesHaveTheNamesOfFlags) {
  EXPECT_EQ(dtype_name(c10::kFloat), "float32");
  EXPECT_EQ(dtype_name(c10::kBFloat16), "bfloat16");
  EXPECT_EQ(dtype_name(c10::kHalf), "float16");
  EXPECT_THROW(dtype_name(c10::kInt), std::invalid_argument);
}

}  // namespace
}  // namespace seer
