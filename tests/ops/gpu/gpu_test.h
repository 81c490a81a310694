// Tests that need a GPU on which the kernels run.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace seer::test {

// Why the kernels cannot run here; empty where they can.
std::string missing_gpu();

// Each test of a derived fixture is skipped where there is no such GPU, or fails with SEER_REQUIRE_GPU=1: a machine that
// lost its GPU must not look as if all were well.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override;
};

}  // namespace seer::test
