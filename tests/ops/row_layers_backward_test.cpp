// Gradients of RMS norm and SwiGLU against LibTorch's derivative of their formulas in float64.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "seer/ops.h"

namespace seer {
namespace {

// One rounding to bfloat16 of sums whose terms are up to `term` large, or that they are themselves.
void expect_near(const at::Tensor& actual, const at::Tensor& expected, const char* name,
                 double term = 0) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << name;
  if (expected.numel() == 0) return;
  const double tolerance = actual.scalar_type() == at::kBFloat16 ? 1.0 / 128
                           : actual.scalar_type() == at::kFloat  ? 5e-6
                                                                 : 1e-13;
  const double largest = std::max(term, expected.abs().max().item<double>());
  EXPECT_LE((actual.to(at::kDouble) - expected).abs().max().item<double>(), tolerance * largest)
      << name;
}

at::Tensor leaf(const at::Tensor& x) {
  return x.to(at::kDouble).clone().set_requires_grad(true);
}

using Case = std::tuple<at::ScalarType, std::int64_t>;  // dtype, width
class RowLayersBackward : public testing::TestWithParam<Case> {
 protected:
  at::ScalarType dtype() const { return std::get<0>(GetParam()); }
  std::int64_t width() const { return std::get<1>(GetParam()); }
};

TEST_P(RowLayersBackward, RmsNorm) {
  at::manual_seed(width());
  const at::Tensor weight = at::randn({width()}).to(dtype());
  // Of a projection that holds other heads too.
  const at::Tensor wide = at::randn({70, 5, width() + 3}).mul(3).to(dtype());
  for (const at::Tensor& x :
       {wide.narrow(1, 1, 3).narrow(2, 0, width()), wide.select(1, 2).narrow(1, 3, width()),
        wide.narrow(0, 0, 0).select(1, 0).narrow(1, 0, width())}) {
    const at::Tensor slopes = at::randn({x.size(0), 4, width()}).to(dtype());
    const at::Tensor of_output = x.dim() == 3 ? slopes.narrow(1, 1, 3) : slopes.select(1, 2);
    const at::Tensor d = leaf(x), w = leaf(weight);
    const at::Tensor out = d / (d.square().mean(-1, true) + 1e-5).sqrt() * w;
    const std::vector<at::Tensor> expected =
        torch::autograd::grad({out}, {d, w}, {of_output.to(at::kDouble)});
    const auto [grad_x, grad_weight] = rms_norm_backward(of_output, x, weight, 1e-5);
    EXPECT_EQ(grad_x.scalar_type(), dtype());
    EXPECT_TRUE(grad_x.is_contiguous());
    const at::Tensor terms = of_output * weight / (d.square().mean(-1, true) + 1e-5).sqrt();
    const double term = terms.numel() == 0 ? 0 : terms.abs().max().item<double>();
    expect_near(grad_x, expected[0], "x", term);
    expect_near(grad_weight, expected[1], "weight");
  }
}

TEST_P(RowLayersBackward, Swiglu) {
  at::manual_seed(width());
  for (const std::int64_t rows : {0, 65}) {
    const at::Tensor both =
        at::randn({rows, 2 * width() + 5}).mul(4).to(dtype()).narrow(1, 1, 2 * width());
    const at::Tensor grad = at::randn({rows, width() + 2}).to(dtype()).narrow(1, 2, width());
    const at::Tensor d = leaf(both);
    const at::Tensor gate = d.narrow(1, 0, width());
    const at::Tensor out = gate / (1 + (-gate).exp()) * d.narrow(1, width(), width());
    const at::Tensor expected = torch::autograd::grad({out}, {d}, {grad.to(at::kDouble)}).front();
    expect_near(swiglu_backward(grad, both), expected, "gate_up");
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, RowLayersBackward,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kDouble),
                                          testing::Values(1, 2, 15, 64, 384, 1000)));

TEST(RowLayersBackwardErrors, NameTheArgument) {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  const at::Tensor x = at::ones({2, 4}), weight = at::ones({4});
  for (const auto& [grad, words] :
       {std::pair(at::ones({2, 3}), "rms_norm_backward: grad: expected [2, 4] (as the output)"),
        std::pair(at::ones({2, 4}, at::kDouble), "grad: expected Float (as x), got Double"),
        std::pair(at::ones({4, 2}).t(), "grad: expected a contiguous last dimension")}) {
    const std::string text =
        message([&, given = grad] { rms_norm_backward(given, x, weight, 1e-5); });
    EXPECT_NE(text.find(words), std::string::npos) << text;
  }
  EXPECT_NE(
      message([&] { rms_norm_backward(x, x, at::ones({5}), 1e-5); }).find("weight: expected [4]"),
      std::string::npos);
  EXPECT_NE(message([&] {
              swiglu_backward(at::ones({2, 4}), x);
            }).find("grad: expected [2, 2]"),
            std::string::npos);
  EXPECT_NE(message([&] {
              swiglu_backward(x, at::ones({2, 3}));
            }).find("2 * width"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
