// The attention operators as C++ users call them: through include/seer/ops.h.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>

#include "kernels/block_sparse_attention/cpu.h"
#include "seer/ops.h"

namespace seer {
namespace {

struct Inputs {
  at::Tensor q, k, v;
};

Inputs random_inputs(std::int64_t batch, std::int64_t num_q_heads, std::int64_t num_kv_heads,
                     std::int64_t q_len, std::int64_t kv_len, std::int64_t head_dim,
                     at::ScalarType dtype) {
  at::manual_seed(7);
  return {at::randn({batch, num_q_heads, q_len, head_dim}).to(dtype),
          at::randn({batch, num_kv_heads, kv_len, head_dim}).to(dtype),
          at::randn({batch, num_kv_heads, kv_len, head_dim}).to(dtype)};
}

std::int64_t num_blocks(std::int64_t length, std::int64_t block_size) {
  return (length + block_size - 1) / block_size;
}

// 2-norm of the difference over 2-norm of the expected.
double relative_difference(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor wide = expected.to(at::kDouble);
  return ((actual.to(at::kDouble) - wide).norm() / wide.norm()).item<double>();
}

double out_tolerance(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? 6e-3 : 3e-6;
}

class AttentionOperators : public testing::TestWithParam<at::ScalarType> {};

TEST_P(AttentionOperators, DenseEqualsScaledDotProductAttention) {
  const auto [q, k, v] = random_inputs(2, 6, 2, 200, 200, 64, GetParam());
  const at::Tensor expected =
      at::scaled_dot_product_attention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), {},
                                       0.0, /*is_causal=*/true, std::nullopt, /*enable_gqa=*/true);
  const at::Tensor every_block = at::ones({1, 1, 4, 4}, at::kBool);

  const auto [sparse_out, sparse_lse] = block_sparse_attention(q, k, v, every_block);
  EXPECT_EQ(sparse_out.scalar_type(), GetParam());
  EXPECT_EQ(sparse_lse.scalar_type(), at::kFloat);
  EXPECT_LE(relative_difference(sparse_out, expected), out_tolerance(GetParam()));
  const auto [dense_out, dense_lse] = block_sparse_attention(q, k, v, std::nullopt);
  EXPECT_TRUE(at::equal(dense_out, sparse_out));
  EXPECT_TRUE(at::equal(dense_lse, sparse_lse));

  const auto [out, lse, block_map] = attention_with_block_map(q, k, v);
  EXPECT_LE(relative_difference(out, expected), out_tolerance(GetParam()));
  EXPECT_LE((lse - sparse_lse).abs().max().item<double>(), 2e-5);
  EXPECT_EQ(block_map.sizes(), at::IntArrayRef({2, 6, 4, 4}));

  const auto [pooling_out, pooled] = attn_with_pooling(q, k, v, true, 1 / std::sqrt(64.0));
  EXPECT_TRUE(at::equal(pooling_out, out));
  const at::Tensor normalised = block_map / block_map.sum(-1, true);
  EXPECT_LE((pooled - normalised).abs().max().item<double>(), 1e-6);
}

TEST_P(AttentionOperators, BlockMapIsTheLargestProbabilityOfEachBlock) {
  const std::int64_t length = 192, block_size = 32, blocks = 6;
  const auto [q, k, v] = random_inputs(1, 4, 1, length, length, 48, GetParam());
  const at::Tensor scores =
      at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(-1, -2)) / std::sqrt(48.0);
  const at::Tensor hidden = at::ones({length, length}, at::kBool).triu(1);
  const at::Tensor probabilities = scores.masked_fill(hidden, -INFINITY).softmax(-1);
  const at::Tensor expected =
      probabilities.view({1, 4, blocks, block_size, blocks, block_size}).amax({3, 5});
  const at::Tensor block_map = std::get<2>(attention_with_block_map(q, k, v, block_size));
  EXPECT_LE(relative_difference(block_map, expected), 2e-5);
}

TEST_P(AttentionOperators, SparseEqualsMaskedDense) {
  const std::int64_t q_len = 100, kv_len = 150, block_size = 16;
  const auto [q, k, v] = random_inputs(2, 4, 2, q_len, kv_len, 40, GetParam());
  at::Tensor block_mask = at::rand({2, 4, num_blocks(q_len, 16), num_blocks(kv_len, 16)}) < 0.4;
  block_mask.select(3, 0).fill_(true);  // no empty rows: LibTorch gives NaN there
  const at::Tensor kept = block_mask.repeat_interleave(block_size, 2)
                              .narrow(2, 0, q_len)
                              .repeat_interleave(block_size, 3)
                              .narrow(3, 0, kv_len);
  const at::Tensor visible =
      kept.logical_and(at::ones({q_len, kv_len}, at::kBool).tril(kv_len - q_len));
  const at::Tensor expected = at::scaled_dot_product_attention(
      q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), visible, 0.0, false, std::nullopt,
      /*enable_gqa=*/true);
  const at::Tensor out = std::get<0>(block_sparse_attention(q, k, v, block_mask, block_size, true));
  EXPECT_LE(relative_difference(out, expected), out_tolerance(GetParam()));
}

TEST_P(AttentionOperators, ReadsTransposedViewsWhereTheyLie) {
  const auto [q, k, v] = random_inputs(1, 4, 2, 130, 130, 32, GetParam());
  const auto length_major = [](const at::Tensor& tensor) {
    return tensor.transpose(1, 2).contiguous().transpose(1, 2);
  };
  const at::Tensor every_block = at::ones({1, 1, 3, 3}, at::kBool);
  const at::Tensor plain = std::get<0>(block_sparse_attention(q, k, v, every_block));
  const at::Tensor viewed = std::get<0>(
      block_sparse_attention(length_major(q), length_major(k), length_major(v), every_block));
  EXPECT_TRUE(at::equal(plain, viewed));
}

TEST_P(AttentionOperators, SameBitsForAnyNumberOfThreads) {
  const auto [q, k, v] = random_inputs(1, 4, 2, 300, 300, 64, GetParam());
  const int threads_before = at::get_num_threads();
  at::set_num_threads(1);
  const auto serial = attention_with_block_map(q, k, v);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    const auto parallel = attention_with_block_map(q, k, v);
    EXPECT_TRUE(at::equal(std::get<0>(serial), std::get<0>(parallel))) << threads << " threads";
    EXPECT_TRUE(at::equal(std::get<1>(serial), std::get<1>(parallel))) << threads << " threads";
    EXPECT_TRUE(at::equal(std::get<2>(serial), std::get<2>(parallel))) << threads << " threads";
  }
  at::set_num_threads(threads_before);
}

INSTANTIATE_TEST_SUITE_P(EveryElement, AttentionOperators,
                         testing::Values(at::kFloat, at::kBFloat16), [](const auto& element) {
                           return element.param == at::kFloat ? "float32" : "bfloat16";
                         });

TEST(AttentionOperatorErrors, NameTheArgument) {
  const auto [q, k, v] = random_inputs(1, 4, 2, 64, 64, 32, at::kFloat);
  const at::Tensor every_block = at::ones({1, 1, 1, 1}, at::kBool);
  const auto message = [&](auto call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  const std::string block_size =
      message([&, q = q, k = k, v = v] { block_sparse_attention(q, k, v, every_block, 48); });
  EXPECT_NE(block_size.find("block_size"), std::string::npos) << block_size;
  EXPECT_NE(block_size.find("48"), std::string::npos) << block_size;
  const std::string head_dim = message(
      [&, q = q, k = k, v = v] { block_sparse_attention(q, k.narrow(3, 0, 16), v, every_block); });
  EXPECT_NE(head_dim.find("k:"), std::string::npos) << head_dim;
}

// Beside its outputs an operator may hold the scratch of its threads, and that must not grow to the
// size of a block map in float32 per token or of a score matrix.
TEST(AttentionMemory, ScratchIsBoundedAtLongLengths) {
  AttentionParams params;
  params.batch = 1;
  params.num_q_heads = 32;
  params.num_kv_heads = 8;
  params.q_len = params.kv_len = 131072;
  params.head_dim = 128;
  params.block_size = 64;
  float wanted = 0;
  params.block_map = &wanted;  // asked for; nothing runs here
  constexpr std::size_t kThreads = 64, kLimit = 64 << 20;
  for (const Element element : {Element::kFloat32, Element::kBFloat16}) {
    params.element = element;
    for (const CpuIsa isa :
         {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16}) {
      if (!cpu_isa_supported(isa)) continue;
      EXPECT_LE(attention_scratch_bytes(params, isa) * kThreads, kLimit)
          << cpu_isa_name(isa) << ": " << attention_scratch_bytes(params, isa)
          << " bytes for each of " << kThreads << " threads";
    }
  }
}

}  // namespace
}  // namespace seer
