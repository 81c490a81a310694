// The matrix-vector operator against a product in float64.
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

// Largest difference from `expected` in units of the rounding that a sum of `terms` products of this size may have.
double worst_error(const at::Tensor& out, const at::Tensor& expected, const at::Tensor& scale) {
  if (out.numel() == 0) return 0;
  return ((out.to(at::kDouble) - expected).abs() / scale).max().item<double>();
}

using Shape = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // batch, in, out features
class Gemv : public testing::TestWithParam<std::tuple<at::ScalarType, Shape>> {};

TEST_P(Gemv, MatchesDoubleOnEveryInstructionSet) {
  const auto [dtype, shape] = GetParam();
  const auto [batch, in, out] = shape;
  at::manual_seed(in * 1000 + out);
  const at::Tensor x = at::randn({batch, in}).to(dtype);
  const at::Tensor weight = at::randn({out, in}).to(dtype);
  const at::Tensor bias = at::randn({out}).to(dtype);
  const at::Tensor wide_x = x.to(at::kDouble), wide_weight = weight.to(at::kDouble);
  // What each result may be off by: half a unit of bfloat16, and the float32 sum's error of its terms' magnitude.
  const double unit = dtype == at::kBFloat16 ? 1.0 / 256 : dtype == at::kFloat ? 6e-8 : 1e-16;
  const at::Tensor magnitude =
      at::linear(wide_x.abs(), wide_weight.abs(), bias.to(at::kDouble).abs());
  for (const bool with_bias : {false, true}) {
    const std::optional<at::Tensor> some_bias = with_bias ? std::optional(bias) : std::nullopt;
    const at::Tensor expected = at::linear(
        wide_x, wide_weight, with_bias ? std::optional(bias.to(at::kDouble)) : std::nullopt);
    const at::Tensor allowed =
        (dtype == at::kBFloat16 ? expected.abs() * unit + magnitude * 1e-6 : magnitude * unit * 8) +
        1e-30;
    for (const CpuIsa isa : supported_isas()) {
      SCOPED_TRACE(std::string(cpu_isa_name(isa)));
      const IsaGuard guard(isa);
      const at::Tensor result = gemv(x, weight, some_bias);
      ASSERT_EQ(result.scalar_type(), dtype);
      ASSERT_EQ(result.sizes(), expected.sizes());
      EXPECT_LE(worst_error(result, expected, allowed), 1.0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Gemv,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kDouble),
                                          testing::Values(Shape{1, 1, 1}, Shape{1, 7, 3},
                                                          Shape{1, 64, 5}, Shape{2, 33, 4},
                                                          Shape{3, 100, 9}, Shape{4, 384, 640},
                                                          Shape{1, 1000, 257}, Shape{0, 8, 8},
                                                          Shape{1, 0, 4}, Shape{1, 8, 0})));

TEST(GemvViews, StridedRowsAndAnyThreadsGiveTheSameBits) {
  const at::Tensor all = at::randn({300, 200});
  const at::Tensor weight = all.narrow(1, 3, 150);           // rows 200 apart, not aligned
  const at::Tensor x = at::randn({150, 2}).transpose(0, 1);  // no contiguous last dimension
  const at::Tensor expected = gemv(x.contiguous(), weight.contiguous());
  for (const int threads : {1, 2, 3, 7}) {
    const ThreadsGuard guard(threads);
    EXPECT_TRUE(at::equal(gemv(x, weight), expected)) << threads;
  }
}

TEST(GemvViews, NanStaysInItsRow) {
  at::Tensor weight = at::ones({6, 40});
  weight[2][39] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor out = gemv(at::ones({1, 40}), weight);
  for (std::int64_t o = 0; o < 6; ++o) {
    EXPECT_EQ(std::isnan(out[0][o].item<float>()), o == 2) << o;
  }
}

TEST(GemvErrors, NameTheArgument) {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  const at::Tensor x = at::ones({1, 4});
  EXPECT_NE(message([&] {
              gemv(x, at::ones({3, 5}));
            }).find("weight: expected 4 in_features"),
            std::string::npos);
  EXPECT_NE(message([&] {
              gemv(x, at::ones({3, 4}, at::kBFloat16));
            }).find("weight: expected Float"),
            std::string::npos);
  EXPECT_NE(message([&] {
              gemv(x, at::ones({3, 4}), at::ones({2}));
            }).find("bias: expected [3]"),
            std::string::npos);
  EXPECT_NE(message([&] {
              gemv(at::ones({4}), at::ones({3, 4}));
            }).find("x: expected 2 dimensions"),
            std::string::npos);
  EXPECT_NE(message([&] {
              gemv(x.to(at::kLong), at::ones({3, 4}, at::kLong));
            }).find("x: expected float32, bfloat16 or float64"),
            std::string::npos);
  const at::Tensor trained = at::ones({3, 4}).requires_grad_();
  EXPECT_NE(message([&] { gemv(x, trained).sum().backward(); }).find("derivative"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
