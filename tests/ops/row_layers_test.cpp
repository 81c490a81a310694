// RMS norm, RoPE and SwiGLU against their formulas in float64.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "seer/ops.h"
#include "support/isa_guard.h"
#include "support/threads_guard.h"

namespace seer {
namespace {

// Relative and absolute: bfloat16 rounds twice, each time by half a unit of 2^-8.
void expect_near(const at::Tensor& out, const at::Tensor& expected) {
  ASSERT_EQ(out.sizes(), expected.sizes());
  const double relative = out.scalar_type() == at::kBFloat16 ? 1.2 / 128
                          : out.scalar_type() == at::kFloat  ? 2e-6
                                                             : 1e-14;
  EXPECT_TRUE(
      at::allclose(out.to(at::kDouble), expected, relative, relative / 10, /*equal_nan=*/true))
      << (out.to(at::kDouble) - expected).abs().max().item<double>();
}

using Case = std::tuple<at::ScalarType, std::int64_t>;  // dtype, width
class RowLayers : public testing::TestWithParam<Case> {
 protected:
  at::ScalarType dtype() const { return std::get<0>(GetParam()); }
  std::int64_t width() const { return std::get<1>(GetParam()); }

  template <typename Run>
  void on_every_isa(const at::Tensor& expected, Run run) {
    for (const CpuIsa isa : supported_isas()) {
      SCOPED_TRACE(std::string(cpu_isa_name(isa)));
      const IsaGuard guard(isa);
      const at::Tensor out = run();
      ASSERT_EQ(out.scalar_type(), dtype());
      expect_near(out, expected);
      const ThreadsGuard threads(3);
      EXPECT_TRUE(at::equal(run(), out));
    }
  }
};

TEST_P(RowLayers, RmsNorm) {
  at::manual_seed(width());
  const at::Tensor weight = at::randn({width()}).to(dtype());
  // Of a projection that holds other heads too.
  const at::Tensor wide = at::randn({70, 5, width() + 3}).mul(3).to(dtype());
  for (const at::Tensor& x :
       {wide.narrow(1, 1, 3).narrow(2, 0, width()), wide.select(1, 2).narrow(1, 3, width()),
        wide.narrow(0, 0, 0).select(1, 0).narrow(1, 0, width())}) {
    const at::Tensor d = x.to(at::kDouble);
    const at::Tensor expected =
        d / (d.square().mean(-1, true) + 1e-5).sqrt() * weight.to(at::kDouble);
    on_every_isa(expected, [&] { return rms_norm(x, weight, 1e-5); });
  }
}

TEST_P(RowLayers, RopeToOtherMemoryAndInPlace) {
  if (width() % 2 != 0) {
    EXPECT_THROW(rope(at::ones({1, 1, width()}), at::ones({1, width() / 2}),
                      at::ones({1, width() / 2}), at::ones({1, 1, width()})),
                 c10::Error);
    return;
  }
  at::manual_seed(width());
  const std::int64_t half = width() / 2;
  const at::Tensor x = at::randn({66, 4, width()}).to(dtype()).narrow(1, 1, 2);
  const at::Tensor angles = at::randn({66, half}) * 3;
  const at::Tensor cos = angles.cos(), sin = angles.sin();
  const at::Tensor wide_cos = cos.to(at::kDouble).unsqueeze(1),
                   wide_sin = sin.to(at::kDouble).unsqueeze(1);
  const at::Tensor first = x.narrow(2, 0, half).to(at::kDouble),
                   second = x.narrow(2, half, half).to(at::kDouble);
  const at::Tensor expected =
      at::cat({first * wide_cos - second * wide_sin, second * wide_cos + first * wide_sin}, -1);
  on_every_isa(expected, [&] {
    // Head-major memory, as in the key cache.
    const at::Tensor out = at::empty({2, 66, width()}, dtype()).transpose(0, 1);
    rope(x, cos, sin, out);
    const at::Tensor same = x.clone();
    rope(same, cos, sin, same);
    EXPECT_TRUE(at::equal(same, out));
    return out;
  });
  const at::Tensor memory = at::zeros({67, 2, width()}, dtype());
  EXPECT_THROW(rope(memory.narrow(0, 0, 66), cos, sin, memory.narrow(0, 1, 66)), c10::Error);
}

TEST_P(RowLayers, Swiglu) {
  at::manual_seed(width());
  const at::Tensor both =
      at::randn({65, 2 * width() + 5}).mul(8).to(dtype()).narrow(1, 1, 2 * width());
  const at::Tensor gate = both.narrow(1, 0, width()).to(at::kDouble);
  const at::Tensor expected =
      gate / (1 + (-gate).exp()) * both.narrow(1, width(), width()).to(at::kDouble);
  on_every_isa(expected, [&] { return swiglu(both); });
}

INSTANTIATE_TEST_SUITE_P(Widths, RowLayers,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kDouble),
                                          testing::Values(1, 2, 8, 15, 16, 33, 64, 128, 384,
                                                          1000)));

TEST(SwigluValues, ExtremesAndNan) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor gate = at::tensor({0.0f, -1e4f, -88.0f, 1e4f, -1e38f, 1e30f, infinity, nan});
  const at::Tensor out = swiglu(at::cat({gate, at::ones({8})}).unsqueeze(0))[0];
  const at::Tensor wide = gate.to(at::kDouble);
  const at::Tensor expected = wide / (1 + (-wide).exp());
  EXPECT_TRUE(at::allclose(out.to(at::kDouble), expected, 1e-5, 1e-30, true)) << out;
}

TEST(RowLayersErrors, NameTheArgument) {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  EXPECT_NE(message([] {
              rms_norm(at::ones({2, 4}), at::ones({5}), 1e-5);
            }).find("weight: expected [4]"),
            std::string::npos);
  EXPECT_NE(message([] { rms_norm(at::ones({4}), at::ones({4}), 1e-5); }).find("x: expected [rows"),
            std::string::npos);
  EXPECT_NE(message([] { swiglu(at::ones({2, 3})); }).find("2 * width"), std::string::npos);
  EXPECT_NE(message([] {
              rope(at::ones({2, 1, 4}), at::ones({2, 3}), at::ones({2, 2}), at::ones({2, 1, 4}));
            }).find("cos: expected [2, 4 / 2]"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
