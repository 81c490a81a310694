// What must hold of the attention operators on the GPU whatever the reference says, and what they refuse.
#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "ops/gpu/attention_on_gpu.h"
#include "ops/gpu/gpu_test.h"
#include "seer/ops.h"
#include "support/attention_case.h"

namespace seer::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// element, head_dim, block_size
class GpuAttentionProperties
    : public GpuTest,
      public testing::WithParamInterface<std::tuple<Element, std::int64_t, std::int64_t>> {
 protected:
  // Several query blocks, a ragged end and a group of heads.
  static AttentionCase sparse_case() {
    AttentionCase problem = {.name = "sparse",
                             .batch = 2,
                             .num_q_heads = 6,
                             .num_kv_heads = 2,
                             .q_len = 450,
                             .kv_len = 650,
                             .mask = MaskFamily::kRandom};
    std::tie(problem.element, problem.head_dim, problem.block_size) = GetParam();
    return problem;
  }
  static AttentionCase dense_case() {
    AttentionCase problem = sparse_case();
    problem.mask = MaskFamily::kNone;
    problem.block_map = true;
    return problem;
  }
};

TEST_P(GpuAttentionProperties, SameBitsTwice) {
  for (const AttentionCase& problem : {sparse_case(), dense_case()}) {
    const AttentionInputs inputs(problem);
    const AttentionResult first = run_on_gpu(problem, inputs);
    for (int again = 0; again < 3; ++again) {
      EXPECT_TRUE(first.same_bits(run_on_gpu(problem, inputs))) << problem;
    }
  }
}

TEST_P(GpuAttentionProperties, AllBlocksAreDense) {
  AttentionCase problem = dense_case();
  const AttentionInputs inputs(problem);
  AttentionResult with_map = run_on_gpu(problem, inputs);
  problem.block_map = false;
  with_map.block_map.clear();
  expect_close(problem, inputs, run_on_gpu(problem, inputs), with_map);
}

TEST_P(GpuAttentionProperties, UnselectedBlocksDoNotLeak) {
  const AttentionCase problem = sparse_case();
  const AttentionInputs inputs(problem);
  const AttentionResult clean = run_on_gpu(problem, inputs);
  for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block) {
    for (const double value : {kNaN, kInfinity, -kInfinity}) {
      SCOPED_TRACE(testing::Message() << "key block " << kv_block << " holds " << value);
      AttentionInputs poisoned = inputs;
      poison_block(problem, poisoned.k, kv_block, value);
      poison_block(problem, poisoned.v, kv_block, value);
      expect_unaffected(problem, inputs, kv_block, clean, run_on_gpu(problem, poisoned));
    }
  }
}

TEST_P(GpuAttentionProperties, LaterBlocksDoNotLeakIntoEarlierQueries) {
  AttentionCase problem = sparse_case();
  problem.kv_len = problem.q_len;
  problem.mask = MaskFamily::kAllOnes;
  const AttentionInputs inputs(problem);
  const AttentionResult clean = run_on_gpu(problem, inputs);
  for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block) {
    SCOPED_TRACE(testing::Message() << "key block " << kv_block << " holds NaN");
    AttentionInputs poisoned = inputs;
    poison_block(problem, poisoned.k, kv_block, kNaN);
    poison_block(problem, poisoned.v, kv_block, kNaN);
    expect_unaffected(problem, inputs, kv_block, clean, run_on_gpu(problem, poisoned));
  }
}

TEST_P(GpuAttentionProperties, PooledMapIsTheBlockMapWithRowsThatSumToOne) {
  AttentionCase problem = dense_case();
  problem.kv_len = 200;  // the first queries see no key
  const GpuAttentionInputs device = on_gpu(problem, AttentionInputs(problem));
  const auto [out, lse, block_map] =
      attention_with_block_map(device.q, device.k, device.v, problem.block_size);
  const auto [pooling_out, pooled] =
      attn_with_pooling(device.q, device.k, device.v, true,
                        1 / std::sqrt(static_cast<double>(problem.head_dim)), problem.block_size);
  EXPECT_TRUE(at::equal(pooling_out, out));
  const at::Tensor sums = block_map.to(at::kDouble).sum(-1, true);
  EXPECT_TRUE(sums.eq(0).any().item<bool>());
  const at::Tensor expected = block_map / sums.masked_fill(sums.eq(0), 1);
  EXPECT_LE((pooled - expected).abs().max().item<double>(), 1e-6);
}

std::string test_name(const testing::TestParamInfo<GpuAttentionProperties::ParamType>& info) {
  const auto [element, head_dim, block_size] = info.param;
  return element_name(element) + ("_d" + std::to_string(head_dim)) + "_b" +
         std::to_string(block_size);
}

INSTANTIATE_TEST_SUITE_P(Kernels, GpuAttentionProperties,
                         testing::Combine(testing::Values(Element::kBFloat16, Element::kFloat16),
                                          testing::Values(64, 128), testing::Values(64, 128)),
                         test_name);

class GpuAttentionOperators : public GpuTest {
 protected:
  static at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype = at::kBFloat16) {
    return at::randn(sizes, at::TensorOptions(at::kCUDA).dtype(dtype));
  }
  static at::Tensor all_blocks(at::IntArrayRef sizes) {
    return at::ones(sizes, at::TensorOptions(at::kCUDA).dtype(at::kBool));
  }

  template <typename Call>
  static void expect_refusal(const Call& call, const std::string& message) {
    try {
      call();
      ADD_FAILURE() << "no error; expected one with: " << message;
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what_without_backtrace()).find(message), std::string::npos)
          << error.what_without_backtrace();
    }
  }
};

TEST_F(GpuAttentionOperators, RefuseWhatTheyHaveNoKernelFor) {
  const at::Tensor mask = all_blocks({1, 1, 1, 1});
  const auto attend = [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& block_mask,
                          std::int64_t block_size) {
    return [=] { block_sparse_attention(q, k, k, block_mask, block_size); };
  };
  const at::Tensor good = random({1, 1, 64, 64});
  expect_refusal(attend(random({1, 1, 64, 64}, at::kFloat), good, mask, 64),
                 "q: expected dtype bfloat16 or float16 on CUDA, got Float");
  expect_refusal(attend(good, random({1, 1, 64, 64}, at::kHalf), mask, 64),
                 "k: expected dtype BFloat16 (as q), got Half");
  expect_refusal(attend(random({1, 1, 64, 80}), random({1, 1, 64, 80}), mask, 64),
                 "q: expected head_dim 64 or 128 on CUDA, got 80");
  expect_refusal(attend(good, good, all_blocks({1, 1, 2, 2}), 32),
                 "block_size: expected 64 or 128 on CUDA, got 32");
  expect_refusal(attend(good, good.cpu(), mask, 64), "k: expected device cuda:0 (as q), got cpu");
  expect_refusal(attend(good.cpu(), good, mask, 64), "k: expected device cpu (as q), got cuda:0");
  expect_refusal(attend(good, good, mask.cpu(), 64),
                 "block_mask: expected device cuda:0 (as q), got cpu");
}

TEST_F(GpuAttentionOperators, AnExpandedTensorIsReadAsIfItWereWritten) {
  const at::Tensor q = random({2, 4, 100, 64});
  const at::Tensor k = random({1, 1, 100, 64}), v = random({1, 1, 100, 64});
  const auto expanded = [](const at::Tensor& tensor) { return tensor.expand({2, 4, 100, 64}); };
  const at::Tensor mask = all_blocks({1, 1, 2, 2});
  EXPECT_TRUE(at::equal(std::get<0>(block_sparse_attention(q, expanded(k), expanded(v), mask)),
                        std::get<0>(block_sparse_attention(q, expanded(k).contiguous(),
                                                           expanded(v).contiguous(), mask))));
}

TEST_F(GpuAttentionOperators, OutHasTheMemoryLayoutOfQ) {
  const at::Tensor q = random({2, 100, 4, 64}).transpose(1, 2);
  const at::Tensor out = std::get<0>(block_sparse_attention(q, q, q, all_blocks({1, 1, 2, 2})));
  EXPECT_EQ(out.strides(), q.strides());
}

TEST_F(GpuAttentionOperators, RunOnTheCurrentStream) {
  const at::Tensor q = random({1, 8, 2048, 128}), mask = all_blocks({1, 1, 32, 32});
  const at::Tensor factor = at::eye(4096, q.options());
  const at::Tensor expected = std::get<0>(block_sparse_attention(q, q, q, mask)).cpu();
  const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
  const c10::StreamGuard stream(guard.getStreamFromGlobalPool(q.device()));
  // What comes before on the stream takes a while: an operator on another stream would overtake it.
  at::Tensor slow = factor;
  for (int step = 0; step < 20; ++step) slow = at::matmul(slow, factor);
  const at::Tensor late = q * slow.select(0, 0).select(0, 0);
  EXPECT_TRUE(
      at::equal(std::get<0>(block_sparse_attention(late, late, late, mask)).cpu(), expected));
}

// At 131,072 tokens a length x length tensor of one byte would take 17 GB.
TEST_F(GpuAttentionOperators, ScratchStaysBelow70MegabytesAt131072Tokens) {
  constexpr std::int64_t kLength = 131072, kBlocks = kLength / 64, kScratch = 70'000'000;
  const at::Tensor q = random({1, 2, kLength, 128}), k = random({1, 1, kLength, 128});
  c10::DeviceAllocator* const allocator = c10::getDeviceAllocator(at::kCUDA);
  const auto allocated = [&] {
    return allocator->getDeviceStats(q.device().index())
        .allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  };
  const auto expect_small = [&](const auto& call, std::int64_t output_bytes) {
    const std::int64_t before = allocated().current;
    allocator->resetPeakStats(q.device().index());
    const auto outputs = call();
    EXPECT_LE(allocated().peak - before - output_bytes, kScratch);
  };
  const std::int64_t out_bytes = q.numel() * 2 + q.numel() / 128 * 4;
  expect_small([&] { return attention_with_block_map(q, k, k); },
               out_bytes + 2 * kBlocks * kBlocks * 4);
  expect_small([&] { return attn_with_pooling(q, k, k, true, 0.1); },
               out_bytes + 2 * kBlocks * kBlocks * 4);
  const at::Tensor mask = at::rand({1, 2, kBlocks, kBlocks}, q.options().dtype(at::kFloat)) < 0.02;
  expect_small([&] { return block_sparse_attention(q, k, k, mask); }, out_bytes);
}

}  // namespace
}  // namespace seer::test
