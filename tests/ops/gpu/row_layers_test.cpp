// The decoder's row layers and gemv on the GPU, against the double reference on the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "ops/gpu/gpu_test.h"
#include "seer/ops.h"

namespace seer::test {
namespace {

class GpuRowLayers : public GpuTest, public testing::WithParamInterface<at::ScalarType> {
 protected:
  // [rows, ...] whose rows are `padding` elements apart and whose first element lies `offset` elements after an
  // aligned address: 16 bytes can be moved at a time only where both are multiples of 8.
  static at::Tensor random_rows(std::int64_t rows, at::IntArrayRef sizes_of_row,
                                std::int64_t padding = 0, std::int64_t offset = 0) {
    std::int64_t width = 1;
    for (const std::int64_t size : sizes_of_row) width *= size;
    const at::Tensor memory =
        at::randn({rows, width + padding + offset}, at::TensorOptions(at::kCUDA)).to(GetParam());
    return memory.narrow(1, offset, width).unflatten(1, sizes_of_row);
  }

  // A few roundings to the element type, of values of about the size of `expected` or of 1.
  static void expect_close(const at::Tensor& actual, const at::Tensor& expected,
                           const std::string& what, double roundings = 8) {
    const double unit = GetParam() == at::kFloat      ? 2e-7
                        : GetParam() == at::kBFloat16 ? 1.0 / 256
                                                      : 1.0 / 2048;
    ASSERT_EQ(actual.scalar_type(), GetParam()) << what;
    ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
    if (actual.numel() == 0) return;
    const at::Tensor error =
        (actual.cpu().to(at::kDouble) - expected).abs() / expected.abs().clamp_min(0.25);
    EXPECT_LE(error.max().item<double>(), roundings * unit) << what;
  }

  static at::Tensor wide(const at::Tensor& tensor) { return tensor.cpu().to(at::kDouble); }
};

std::string describe(std::int64_t rows, std::int64_t width, std::int64_t padding,
                     std::int64_t offset) {
  return "rows " + std::to_string(rows) + ", width " + std::to_string(width) + ", padding " +
         std::to_string(padding) + ", offset " + std::to_string(offset);
}

TEST_P(GpuRowLayers, RmsNorm) {
  at::manual_seed(1);
  for (const std::int64_t width :
       {1, 7, 8, 64, 100, 128, 129, 256, 257, 1000, 1024, 2048, 4096, 8192, 14336, 20001}) {
    for (const std::int64_t rows : {0, 1, 3, 65}) {
      for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}}) {
        const at::Tensor x = random_rows(rows, {width}, padding, offset);
        const at::Tensor weight = random_rows(1, {width})[0];
        expect_close(rms_norm(x, weight, 1e-5), rms_norm(wide(x), wide(weight), 1e-5),
                     describe(rows, width, padding, offset));
      }
    }
  }
}

TEST_P(GpuRowLayers, RmsNormOfGroups) {
  at::manual_seed(2);
  for (const std::int64_t width : {64, 96, 100, 128, 256}) {
    for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}}) {
      const at::Tensor x = random_rows(33, {5, width}, padding, offset);
      const at::Tensor weight = random_rows(1, {width})[0];
      expect_close(rms_norm(x, weight, 1e-6), rms_norm(wide(x), wide(weight), 1e-6),
                   describe(33, width, padding, offset));
    }
  }
}

TEST_P(GpuRowLayers, Rope) {
  at::manual_seed(3);
  for (const std::int64_t head_dim : {2, 64, 80, 90, 128, 256}) {
    for (const std::int64_t heads : {1, 3, 4, 33}) {
      for (const std::int64_t rows : {0, 1, 65}) {
        for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}}) {
          const std::string what = describe(rows, head_dim, padding, offset);
          const at::Tensor x = random_rows(rows, {heads, head_dim}, padding, offset);
          const at::Tensor angles =
              at::rand({rows, head_dim / 2}, at::TensorOptions(at::kCUDA)).mul(6);
          const at::Tensor cos = angles.cos(), sin = angles.sin();
          at::Tensor expected = at::empty(x.sizes(), at::kDouble);
          rope(wide(x), cos.cpu(), sin.cpu(), expected);
          at::Tensor out = at::empty(x.sizes(), x.options());
          rope(x, cos, sin, out);
          expect_close(out, expected, what);
          rope(x, cos, sin, x);
          expect_close(x, expected, what + ", in place");
        }
      }
    }
  }
}

TEST_P(GpuRowLayers, Swiglu) {
  at::manual_seed(4);
  for (const std::int64_t width : {1, 7, 8, 100, 1408, 14336}) {
    for (const std::int64_t rows : {0, 1, 65}) {
      for (const auto& [padding, offset] : {std::pair{0, 0}, {16, 8}, {3, 1}}) {
        const at::Tensor gate_up = random_rows(rows, {2 * width}, padding, offset).mul(4);
        expect_close(swiglu(gate_up), swiglu(wide(gate_up)),
                     describe(rows, width, padding, offset));
      }
    }
  }
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor extremes = at::tensor({-200.0, -90.0, -20.0, 0.0, 20.0, 90.0, 200.0, infinity,
                                          1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0},
                                         at::kDouble)
                                  .unsqueeze(0);
  const at::Tensor out = swiglu(extremes.to(at::kCUDA, GetParam()));
  EXPECT_EQ(wide(out)[0][7].item<double>(), infinity);
  expect_close(out.narrow(1, 0, 7), swiglu(extremes).narrow(1, 0, 7), "extremes");
}

TEST_P(GpuRowLayers, Gemv) {
  at::manual_seed(5);
  const at::Tensor x = random_rows(3, {512}), weight = random_rows(100, {512}).div(22);
  const at::Tensor bias = random_rows(1, {100})[0];
  constexpr double kRoundings = 50;  // a sum of 512 products
  expect_close(gemv(x, weight, bias), gemv(wide(x), wide(weight), wide(bias)), "with a bias",
               kRoundings);
  expect_close(gemv(x, weight), gemv(wide(x), wide(weight)), "without", kRoundings);
}

TEST_P(GpuRowLayers, SameBitsTwice) {
  at::manual_seed(6);
  const at::Tensor x = random_rows(999, {4096}), weight = x[0];
  EXPECT_TRUE(at::equal(rms_norm(x, weight, 1e-5), rms_norm(x, weight, 1e-5)));
  EXPECT_TRUE(at::equal(swiglu(x), swiglu(x)));
}

TEST_P(GpuRowLayers, RefuseTensorsOfTwoDevices) {
  const at::Tensor x = random_rows(2, {64});
  try {
    rms_norm(x, x[0].cpu(), 1e-5);
    ADD_FAILURE() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("weight: expected device cuda:0 (as x), got cpu"),
              std::string::npos)
        << error.what();
  }
}

std::string test_name(const testing::TestParamInfo<at::ScalarType>& info) {
  return toString(info.param);
}

INSTANTIATE_TEST_SUITE_P(Elements, GpuRowLayers,
                         testing::Values(at::kFloat, at::kBFloat16, at::kHalf), test_name);

}  // namespace
}  // namespace seer::test
