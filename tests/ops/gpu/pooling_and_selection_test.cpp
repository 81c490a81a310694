// pool_blocks, rope_and_pool and select_blocks on the GPU, against the double reference on the CPU.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "base/ceil_div.h"
#include "ops/gpu/gpu_test.h"
#include "seer/ops.h"

namespace seer::test {
namespace {

class GpuPooling : public GpuTest, public testing::WithParamInterface<at::ScalarType> {
 protected:
  static void expect_close(const at::Tensor& actual, const at::Tensor& expected,
                           const std::string& what) {
    const double unit = GetParam() == at::kFloat      ? 1e-6
                        : GetParam() == at::kBFloat16 ? 1.0 / 256
                                                      : 1.0 / 2048;
    ASSERT_EQ(actual.scalar_type(), GetParam()) << what;
    EXPECT_TRUE(at::allclose(actual.cpu().to(at::kDouble), expected, 2 * unit, unit)) << what;
  }
};

struct PoolCase {
  std::int64_t length, heads, head_dim, block_size;
  const char* kinds;
  bool is_length_major;
};

constexpr PoolCase kPoolCases[] = {
    {0, 2, 128, 64, "avg", false},         {1, 2, 128, 64, "maxminavg", false},
    {63, 3, 64, 64, "avg", true},          {65, 2, 128, 16, "avg", true},
    {1000, 8, 128, 64, "maxminavg", true}, {257, 4, 96, 32, "minavg", false},
    {130, 2, 20, 4, "max", true},          {300, 2, 512, 128, "maxavg", false},
    {50, 2, 7, 16, "maxminavg", true},     {9000, 32, 128, 16, "avg", true}};

std::string describe(const PoolCase& one) {
  return "length " + std::to_string(one.length) + ", head_dim " + std::to_string(one.head_dim) +
         ", block_size " + std::to_string(one.block_size) + ", " + one.kinds;
}

TEST_P(GpuPooling, PoolBlocks) {
  at::manual_seed(1);
  for (const PoolCase& one : kPoolCases) {
    const auto options = at::TensorOptions(at::kCUDA);
    const at::Tensor x =
        (one.is_length_major
             ? at::randn({2, one.length, one.heads, one.head_dim}, options).transpose(1, 2)
             : at::randn({2, one.heads, one.length, one.head_dim}, options))
            .to(GetParam());
    expect_close(pool_blocks(x, one.block_size, one.kinds),
                 pool_blocks(x.cpu().to(at::kDouble), one.block_size, one.kinds), describe(one));
  }
  at::Tensor x = at::zeros({1, 1, 64, 128}, at::TensorOptions(at::kCUDA).dtype(GetParam()));
  x[0][0][5][3] = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor pooled = pool_blocks(x, 64, "maxminavg").cpu();
  EXPECT_EQ(pooled.isnan().sum().item<std::int64_t>(), 3);
  EXPECT_TRUE(pooled[0][0][0][3].isnan().item<bool>());
}

TEST_P(GpuPooling, RopeAndPool) {
  at::manual_seed(2);
  for (const PoolCase& one : kPoolCases) {
    if (one.head_dim % 2 != 0) continue;
    const auto options = at::TensorOptions(at::kCUDA);
    const at::Tensor x =
        (one.is_length_major
             ? at::randn({one.length, one.heads, one.head_dim}, options)
             : at::randn({one.heads, one.length, one.head_dim}, options).transpose(0, 1))
            .to(GetParam());
    const at::Tensor angles = at::rand({one.length, one.head_dim / 2}, options).mul(6);
    const at::Tensor cos = angles.cos(), sin = angles.sin();
    const at::Tensor turned = at::empty_like(x), expected = at::empty_like(x);
    const at::Tensor pooled = rope_and_pool(x, cos, sin, turned, one.block_size, one.kinds);
    rope(x, cos, sin, expected);
    EXPECT_TRUE(at::equal(turned, expected)) << describe(one);
    expect_close(pooled,
                 pool_blocks(x.cpu().to(at::kDouble).transpose(0, 1).unsqueeze(0), one.block_size,
                             one.kinds),
                 describe(one));
    const at::Tensor again = rope_and_pool(x, cos, sin, x, one.block_size, one.kinds);
    EXPECT_TRUE(at::equal(x, expected)) << "in place, " << describe(one);
    EXPECT_TRUE(at::equal(again, pooled)) << describe(one);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GpuPooling, testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& type) { return std::string(c10::toString(type.param)); });

class GpuSelection : public GpuTest {};

TEST_F(GpuSelection, IsTheReferences) {
  at::manual_seed(3);
  struct Sizes {
    std::int64_t q_len, kv_len, block_size, heads;
  };
  // Rows for each number of registers, rows that fit shared memory alone, and rows that do not fit that either.
  for (const Sizes& sizes : {Sizes{0, 0, 64, 2}, Sizes{1, 1, 64, 2}, Sizes{65, 65, 64, 3},
                             Sizes{130, 64, 64, 2}, Sizes{300, 300, 16, 2}, Sizes{640, 4096, 64, 2},
                             Sizes{64, 64 * 700, 64, 2}, Sizes{128, 64 * 1500 + 3, 64, 1},
                             Sizes{128, 64 * 2500, 64, 1}, Sizes{64, 64 * 15000 + 3, 64, 1}}) {
    const std::vector<std::int64_t> shape = {1, sizes.heads,
                                             ceil_div(sizes.q_len, sizes.block_size),
                                             ceil_div(sizes.kv_len, sizes.block_size)};
    const at::Tensor random = at::randn(shape, at::kDouble);
    const at::Tensor kinds[] = {random * 3, (random * 3).softmax(-1),
                                (random.abs() * 2).round() / 7, at::zeros(shape, at::kDouble)};
    for (const at::Tensor& kind : kinds) {
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        const at::Tensor scores = kind.to(type);
        for (const std::string policy :
             {"dense", "gate:ratio=0.1,sink=1,local=2", "gate:ratio=1", "gate:budget=1",
              "gate:budget=1000000", "gate:threshold=0", "gate:threshold=0.25,dense_rows=1",
              "gate:mass=0.001", "gate:mass=0.9", "gate:mass=0.9999999999999999", "gate:mass=1",
              "gate:mass=0.5,sink=1000000", "gate:ratio=0.3,local=9223372036854775807"}) {
          if (&kind == &kinds[0] && policy.find("mass") != std::string::npos) continue;
          EXPECT_TRUE(
              at::equal(select_blocks(scores.to(at::kCUDA), policy, sizes.q_len, sizes.kv_len,
                                      sizes.block_size)
                            .cpu(),
                        select_blocks(scores, policy, sizes.q_len, sizes.kv_len, sizes.block_size)))
              << sizes.kv_len << " keys, " << policy << ", kind " << (&kind - kinds);
        }
      }
    }
  }
}

TEST_F(GpuSelection, NanRanksLast) {
  at::Tensor scores = at::arange(4, at::kFloat).view({1, 1, 1, 4}).to(at::kCUDA);
  scores[0][0][0][3] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor expected = at::tensor({0, 1, 1, 0}).to(at::kBool).view({1, 1, 1, 4});
  for (const std::string policy : {"gate:budget=128", "gate:threshold=0.5", "gate:mass=0.9"})
    EXPECT_TRUE(at::equal(select_blocks(scores, policy, 64, 256, 64).cpu(), expected)) << policy;
}

// Rows whose scores are far from evenly spread: steps, one that is far above the rest, infinities, two values alone.
TEST_F(GpuSelection, HighestOfUnevenScores) {
  constexpr std::int64_t kBlocks = 2048;
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(3);
  const at::Tensor normal = at::randn({1, 1, 1, kBlocks}, generator);
  std::vector<at::Tensor> rows = {
      normal,
      normal.exp().pow(8),
      -normal.abs() * 1e30,
      (normal * 3).floor(),
      normal.sign(),
      at::where(normal > 1, std::numeric_limits<float>::infinity(), normal),
      at::where(normal > 0, -std::numeric_limits<float>::infinity(), normal),
      normal * 1e-40};
  rows.push_back(normal.clone());
  rows.back()[0][0][0][7] = 1e35;
  const at::Tensor scores = at::cat(rows, 1);
  // One query block that sees all of them.
  for (const std::string policy :
       {"gate:budget=64", "gate:ratio=0.01", "gate:ratio=0.1", "gate:ratio=0.9"}) {
    const at::Tensor expected = select_blocks(scores, policy, 64, kBlocks * 64, 64);
    const at::Tensor found =
        select_blocks(scores.to(at::kCUDA), policy, 64, kBlocks * 64, 64).cpu();
    for (std::int64_t row = 0; row < scores.size(1); ++row)
      EXPECT_TRUE(at::equal(found.select(1, row), expected.select(1, row)))
          << policy << ", row " << row;
  }
}

TEST_F(GpuSelection, CountsKeptBlocks) {
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  for (const at::IntArrayRef shape : std::vector<std::vector<std::int64_t>>{
           {0}, {1}, {15}, {1, 3, 17, 19}, {2, 32, 64, 64}, {1, 8, 512, 509}}) {
    const at::Tensor mask = at::rand(shape, generator) < 0.3;
    const auto expected = mask.sum().item<std::int64_t>();
    EXPECT_EQ(count_blocks(mask).item<std::int64_t>(), expected);
    EXPECT_EQ(count_blocks(mask.to(at::kCUDA)).item<std::int64_t>(), expected);
  }
  const at::Tensor mask = (at::rand({4, 40, 40}, generator) < 0.3).to(at::kCUDA);
  for (const at::Tensor& view :
       {mask.narrow(2, 1, 33), mask.view({-1}).slice(0, 1), mask[0][0][0].expand({1000})})
    EXPECT_EQ(count_blocks(view).item<std::int64_t>(), view.sum().item<std::int64_t>());
}

}  // namespace
}  // namespace seer::test
