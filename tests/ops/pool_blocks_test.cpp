// The pooling operator against the plain loops of its reference.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/ceil_div.h"
#include "kernels/pool_blocks/reference.h"
#include "seer/ops.h"
#include "support/isa_guard.h"
#include "support/threads_guard.h"

namespace seer {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor reference(const at::Tensor& x, std::int64_t block_size, const std::string& kinds) {
  PoolBlocksParams params;
  params.element = x.scalar_type() == at::kFloat      ? Element::kFloat32
                   : x.scalar_type() == at::kBFloat16 ? Element::kBFloat16
                                                      : Element::kFloat64;
  params.batch = x.size(0);
  params.heads = x.size(1);
  params.length = x.size(2);
  params.head_dim = x.size(3);
  params.block_size = block_size;
  params.x_strides = {x.stride(0), x.stride(1), x.stride(2)};
  params.max = kinds.find("max") != std::string::npos;
  params.min = kinds.find("min") != std::string::npos;
  params.avg = kinds.find("avg") != std::string::npos;
  const std::int64_t num_blocks = ceil_div(params.length, block_size);
  at::Tensor out = at::empty({params.batch, params.heads, num_blocks,
                              params.head_dim * (params.max + params.min + params.avg)},
                             x.options());
  params.x = x.const_data_ptr();
  params.out = out.mutable_data_ptr();
  pool_blocks_reference(params, 0, params.batch * params.heads * num_blocks);
  return out;
}

bool same_bits(const at::Tensor& left, const at::Tensor& right) {
  const at::ScalarType bits = left.element_size() == 2   ? at::kShort
                              : left.element_size() == 4 ? at::kInt
                                                         : at::kLong;
  return at::equal(left.contiguous().view(bits), right.contiguous().view(bits));
}

// Maximum and minimum are exact; the average may differ by the roundings of its sum.
void expect_close(const at::Tensor& out, const at::Tensor& expected, const std::string& kinds) {
  ASSERT_EQ(out.sizes(), expected.sizes());
  ASSERT_EQ(out.scalar_type(), expected.scalar_type());
  const double relative = kinds.find("avg") == std::string::npos ? 0.0
                          : out.scalar_type() == at::kBFloat16   ? 1.0 / 128
                                                                 : 1e-5;
  EXPECT_TRUE(at::allclose(out.to(at::kDouble), expected.to(at::kDouble), relative,
                           relative == 0.0 ? 0.0 : 1e-6, /*equal_nan=*/true));
}

const std::vector<std::string> kAllKinds = {"max",    "min",    "avg",      "maxmin",
                                            "maxavg", "minavg", "maxminavg"};

using Case = std::tuple<at::ScalarType, std::int64_t, std::int64_t>;  // dtype, block size, length
class PoolBlocks : public testing::TestWithParam<Case> {};

TEST_P(PoolBlocks, MatchesReferenceOnEveryInstructionSet) {
  const ThreadsGuard one_thread(1);
  const auto [dtype, block_size, length] = GetParam();
  at::manual_seed(length);
  for (std::int64_t head_dim : {1, 7, 16, 40, 128, 200}) {
    const at::Tensor rows = at::randn({2, length, 3, head_dim}).to(dtype);
    for (const at::Tensor& x : {rows.transpose(1, 2), rows.transpose(1, 2).contiguous()}) {
      for (const std::string& kinds : kAllKinds) {
        const at::Tensor expected = reference(x, block_size, kinds);
        at::Tensor first;
        for (CpuIsa isa : supported_isas()) {
          const IsaGuard guard(isa);
          SCOPED_TRACE(std::string(cpu_isa_name(isa)) + " " + kinds + " head_dim " +
                       std::to_string(head_dim));
          const at::Tensor out = pool_blocks(x, block_size, kinds);
          expect_close(out, expected, kinds);
          if (!first.defined()) first = out;
          EXPECT_TRUE(same_bits(out, first));
        }
      }
    }
  }
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  return std::string(at::toString(std::get<0>(info.param))) + "_block" +
         std::to_string(std::get<1>(info.param)) + "_length" +
         std::to_string(std::get<2>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Lengths, PoolBlocks,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kDouble),
                                          testing::Values(16, 32, 64, 128),
                                          testing::Values(0, 1, 63, 64, 65, 300)),
                         name_of);

TEST(PoolBlocksValues, NanAndInfinity) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    for (CpuIsa isa : supported_isas()) {
      const IsaGuard guard(isa);
      for (std::int64_t token : {0, 5, 15}) {
        at::Tensor x = at::randn({1, 1, 48, 40}, at::kDouble);
        for (std::int64_t d : {0, 17, 39}) {
          x[0][0][token][d] = kNan;
          x[0][0][(token + 1) % 16][d] = kInfinity;
        }
        x.select(2, 16 + token).fill_(kInfinity);
        x.select(2, 32 + token).fill_(-kInfinity);
        x = x.to(dtype);
        const at::Tensor out = pool_blocks(x, 16, "maxminavg");
        EXPECT_TRUE(at::equal(out[0][0][0].isnan().nonzero().flatten(),
                              at::tensor({0, 17, 39, 40, 57, 79, 80, 97, 119}, at::kLong)));
        EXPECT_TRUE(at::isposinf(out[0][0][1].slice(0, 0, 40)).all().item<bool>());
        EXPECT_TRUE(at::isfinite(out[0][0][1].slice(0, 40, 80)).all().item<bool>());
        EXPECT_TRUE(at::isposinf(out[0][0][1].slice(0, 80)).all().item<bool>());
        EXPECT_TRUE(at::isfinite(out[0][0][2].slice(0, 0, 40)).all().item<bool>());
        EXPECT_TRUE(at::isneginf(out[0][0][2].slice(0, 40)).all().item<bool>());
      }
    }
  }
}

TEST(PoolBlocksValues, BFloat16IsRoundedOnceToEven) {
  // Two tokens whose mean lies between two bfloat16 numbers, or halfway.
  const std::vector<std::vector<double>> pairs = {
      {1.0, 1.0078125},   {1.0078125, 1.015625},
      {-1.0, -1.0078125}, {3.3895313892515355e38, 3.3895313892515355e38},
      {9.2e-41, 0.0},     {0.5, 1.0}};
  for (CpuIsa isa : supported_isas()) {
    const IsaGuard guard(isa);
    for (const auto& pair : pairs) {
      const at::Tensor x = at::tensor(pair, at::kDouble)
                               .to(at::kBFloat16)
                               .view({1, 1, 2, 1})
                               .expand({1, 1, 2, 33})
                               .contiguous();
      const at::Tensor expected = (x.to(at::kFloat).sum(2) / 2).to(at::kBFloat16);
      EXPECT_TRUE(same_bits(pool_blocks(x, 16, "avg").flatten(), expected.flatten())) << pair[0];
    }
  }
}

TEST(PoolBlocksValues, OrderOfKindsIsFixed) {
  const at::Tensor x = at::randn({1, 2, 100, 16});
  const at::Tensor expected = pool_blocks(x, 64, "maxminavg");
  for (const char* kinds : {"max,min,avg", "avgminmax", "min,max,avg", "avg,maxmin"}) {
    EXPECT_TRUE(at::equal(pool_blocks(x, 64, kinds), expected)) << kinds;
  }
  const at::Tensor parts[] = {pool_blocks(x, 64, "max"), pool_blocks(x, 64, "min"),
                              pool_blocks(x, 64, "avg")};
  EXPECT_TRUE(at::equal(at::cat({parts[0], parts[1], parts[2]}, 3), expected));
}

TEST(PoolBlocksValues, StridesAndThreadsChangeNoBit) {
  const at::Tensor storage = at::randn({3, 700, 8, 96});
  const at::Tensor x =
      storage.slice(0, 0, 3, 2).slice(1, 5, 655).slice(2, 1, 8, 3).slice(3, 11, 91).transpose(1, 2);
  const ThreadsGuard guard(1);
  const at::Tensor expected = pool_blocks(x.contiguous(), 32, "maxminavg");
  at::set_num_threads(4);
  for (int round = 0; round < 3; ++round)
    EXPECT_TRUE(same_bits(pool_blocks(x, 32, "maxminavg"), expected));
  const at::Tensor shared = at::randn({1, 1, 130, 24}).expand({2, 5, 130, 24});
  EXPECT_TRUE(
      same_bits(pool_blocks(shared, 64, "maxavg"), pool_blocks(shared.contiguous(), 64, "maxavg")));
}

TEST(PoolBlocksValues, Fuzz) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  at::manual_seed(seed);
  for (int round = 0; round < 200; ++round) {
    const at::ScalarType dtype = random() % 2 != 0 ? at::kFloat : at::kBFloat16;
    const std::int64_t block_size = std::int64_t{1} << random() % 8;
    const auto length = static_cast<std::int64_t>(random() % 400);
    const auto head_dim = static_cast<std::int64_t>(random() % 150);
    const std::string kinds = kAllKinds[random() % kAllKinds.size()];
    at::Tensor x = at::randn({1 + static_cast<std::int64_t>(random() % 2), length,
                              1 + static_cast<std::int64_t>(random() % 4), head_dim});
    if (random() % 3 == 0) x = x.masked_fill(at::rand_like(x) < 0.01, kNan);
    x = x.to(dtype).transpose(1, 2);
    const auto isas = supported_isas();
    const IsaGuard guard(isas[random() % isas.size()]);
    expect_close(pool_blocks(x, block_size, kinds), reference(x, block_size, kinds), kinds);
  }
}

TEST(PoolBlocksSizes, Empty) {
  EXPECT_EQ(pool_blocks(at::empty({2, 3, 0, 8}), 64, "maxavg").sizes(),
            at::IntArrayRef({2, 3, 0, 16}));
  EXPECT_EQ(pool_blocks(at::empty({0, 3, 65, 8}), 64, "max").sizes(),
            at::IntArrayRef({0, 3, 2, 8}));
  EXPECT_EQ(pool_blocks(at::empty({2, 0, 65, 8}), 64, "max").sizes(),
            at::IntArrayRef({2, 0, 2, 8}));
  EXPECT_EQ(pool_blocks(at::empty({2, 3, 65, 0}), 64, "max").sizes(),
            at::IntArrayRef({2, 3, 2, 0}));
}

TEST(PoolBlocksGradient, SpeaksUp) {
  at::Tensor x = at::randn({1, 1, 64, 8}).requires_grad_();
  EXPECT_THROW(pool_blocks(x, 64, "avg").sum().backward(), c10::Error);
}

void expect_error(const at::Tensor& x, std::int64_t block_size, const char* kinds,
                  const std::string& message) {
  try {
    pool_blocks(x, block_size, kinds);
    FAIL() << "accepted";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find(message), std::string::npos)
        << error.what_without_backtrace();
  }
}

TEST(PoolBlocksErrors, NameTheArgumentItsValueAndWhatIsAccepted) {
  const at::Tensor x = at::randn({1, 2, 64, 8});
  expect_error(x[0], 64, "max", "x: expected 4 dimensions [batch, heads, length, head_dim], got 3");
  expect_error(x, 48, "max", "block_size=48: expected a power of two from 1 to 128");
  expect_error(x, 0, "max", "block_size=0: expected a power of two from 1 to 128");
  for (const char* kinds : {"", ",", "mean", "maxx", "max,", ",max", "max,,min", "maxmax",
                            "max max", "MAX", "max;min"}) {
    expect_error(x, 64, kinds,
                 "kinds='" + std::string(kinds) + "': expected one or more of max, min, avg");
  }
  expect_error(x.transpose(2, 3), 64, "max",
               "x: expected a contiguous last dimension, got strides [1024, 512, 1, 8]");
  expect_error(x.to(at::kHalf), 64, "max", "x: expected float32, bfloat16 or float64, got Half");
  expect_error(x.to(at::kInt), 64, "max", "x: expected float32, bfloat16 or float64, got Int");
  EXPECT_NO_THROW(pool_blocks(at::randn({1, 2, 1, 64}).transpose(2, 3), 64, "max"));
}

}  // namespace
}  // namespace seer
