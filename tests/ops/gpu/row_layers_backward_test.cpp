// Gradients of the row layers on the GPU, against those of float64 on the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "ops/gpu/gpu_test.h"
#include "seer/ops.h"

namespace seer::test {
namespace {

class GpuRowLayersBackward : public GpuTest, public testing::WithParamInterface<at::ScalarType> {
 protected:
  // Rows `padding` elements apart, the first `offset` elements after an aligned address.
  static at::Tensor random_rows(std::int64_t rows, at::IntArrayRef sizes_of_row,
                                std::int64_t padding, std::int64_t offset) {
    std::int64_t width = 1;
    for (const std::int64_t size : sizes_of_row) width *= size;
    const at::Tensor memory =
        at::randn({rows, width + padding + offset}, at::TensorOptions(at::kCUDA)).to(GetParam());
    return memory.narrow(1, offset, width).unflatten(1, sizes_of_row);
  }

  static at::Tensor wide(const at::Tensor& tensor) { return tensor.cpu().to(at::kDouble); }

  // Within some roundings to the element type of the largest value of all, or of the terms of which it is a sum.
  static void expect_close(const at::Tensor& actual, const at::Tensor& expected,
                           const std::string& what, double term = 1e-3) {
    const double unit = GetParam() == at::kFloat      ? 1e-6
                        : GetParam() == at::kBFloat16 ? 1.0 / 256
                                                      : 1.0 / 2048;
    ASSERT_EQ(actual.scalar_type(), GetParam()) << what;
    ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
    if (actual.numel() == 0) return;
    const double largest = std::max(term, expected.abs().max().item<double>());
    EXPECT_LE((wide(actual) - expected).abs().max().item<double>(), 2 * unit * largest) << what;
  }

  static void expect_rms_norm(std::int64_t rows, at::IntArrayRef sizes, std::int64_t padding,
                              std::int64_t offset) {
    const at::Tensor x = random_rows(rows, sizes, padding, offset).mul_(3);
    const at::Tensor grad = random_rows(rows, sizes, padding / 2, offset);
    const at::Tensor weight = random_rows(1, {sizes.back()}, 0, 0)[0];
    const std::string what = "rows " + std::to_string(rows) + ", width " +
                             std::to_string(sizes.back()) + ", padding " + std::to_string(padding) +
                             ", offset " + std::to_string(offset);
    const auto [grad_x, grad_weight] = rms_norm_backward(grad, x, weight, 1e-5);
    const auto [wide_x, wide_weight] = rms_norm_backward(wide(grad), wide(x), wide(weight), 1e-5);
    const at::Tensor terms =
        wide(grad) * wide(weight) / (wide(x).square().mean(-1, true) + 1e-5).sqrt();
    const double term = terms.numel() == 0 ? 0 : terms.abs().max().item<double>();
    expect_close(grad_x, wide_x, what + ", x", term);
    expect_close(grad_weight, wide_weight, what + ", weight");
    const auto [again_x, again_weight] = rms_norm_backward(grad, x, weight, 1e-5);
    EXPECT_TRUE(at::equal(again_x, grad_x) && at::equal(again_weight, grad_weight)) << what;
  }
};

TEST_P(GpuRowLayersBackward, RmsNorm) {
  at::manual_seed(1);
  for (const std::int64_t width :
       {1, 7, 8, 64, 100, 128, 129, 257, 384, 1000, 1024, 1032, 2048, 4096, 8192, 14336, 20001}) {
    for (const std::int64_t rows : {0, 1, 3, 65, 700}) {
      for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}})
        expect_rms_norm(rows, {width}, padding, offset);
    }
  }
  expect_rms_norm(20'000, {384}, 0, 0);
}

TEST_P(GpuRowLayersBackward, RmsNormOfGroups) {
  at::manual_seed(2);
  for (const std::int64_t width : {64, 96, 100, 128, 256}) {
    for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}})
      expect_rms_norm(999, {5, width}, padding, offset);
  }
}

TEST_P(GpuRowLayersBackward, Swiglu) {
  at::manual_seed(3);
  for (const std::int64_t width : {1, 7, 8, 100, 1408, 14336}) {
    for (const std::int64_t rows : {0, 1, 65}) {
      for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}}) {
        const at::Tensor gate_up = random_rows(rows, {2 * width}, padding, offset).mul_(4);
        const at::Tensor grad = random_rows(rows, {width}, padding / 2, offset);
        expect_close(swiglu_backward(grad, gate_up), swiglu_backward(wide(grad), wide(gate_up)),
                     "rows " + std::to_string(rows) + ", width " + std::to_string(width) +
                         ", padding " + std::to_string(padding));
      }
    }
  }
  // Where exp(-gate) leaves float32 and half precision.
  const at::Tensor gates = at::tensor({-200.0, -90.0, -20.0, 0.0, 20.0, 90.0, 200.0, 1.0});
  const at::Tensor gate_up = at::cat({gates, at::ones({8})}).unsqueeze(0).to(at::kCUDA, GetParam());
  const at::Tensor grad = at::ones({1, 8}, gate_up.options());
  expect_close(swiglu_backward(grad, gate_up), swiglu_backward(wide(grad), wide(gate_up)),
               "extremes");
}

std::string test_name(const testing::TestParamInfo<at::ScalarType>& info) {
  return toString(info.param);
}

INSTANTIATE_TEST_SUITE_P(Elements, GpuRowLayersBackward,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf), test_name);

}  // namespace
}  // namespace seer::test
