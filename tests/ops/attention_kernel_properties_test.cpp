// What must hold of the attention kernel whatever the reference says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "support/attention_case.h"

namespace seer::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class AttentionKernelProperties : public testing::TestWithParam<std::tuple<CpuIsa, Element>> {
 protected:
  void SetUp() override {
    if (!cpu_isa_supported(isa())) {
      GTEST_SKIP() << "this processor does not support " << cpu_isa_name(isa());
    }
  }

  CpuIsa isa() const { return std::get<0>(GetParam()); }

  AttentionCase with_element(AttentionCase problem) const {
    problem.element = std::get<1>(GetParam());
    return problem;
  }

  // Big enough for several query blocks, a ragged end and a group of heads.
  AttentionCase sparse_case() const {
    return with_element({.name = "sparse",
                         .batch = 2,
                         .num_q_heads = 6,
                         .num_kv_heads = 2,
                         .q_len = 150,
                         .kv_len = 210,
                         .head_dim = 40,
                         .block_size = 32,
                         .mask = MaskFamily::kRandom,
                         .block_map = true});
  }
};

TEST_P(AttentionKernelProperties, AllBlocksAreDense) {
  AttentionCase problem = sparse_case();
  problem.mask = MaskFamily::kAllOnes;
  const AttentionInputs masked(problem);
  const AttentionResult all_blocks = run_kernel(problem, masked, isa());
  problem.mask = MaskFamily::kNone;
  const AttentionInputs dense(problem);
  expect_close(problem, dense, all_blocks, run_kernel(problem, dense, isa()));
}

TEST_P(AttentionKernelProperties, SameBitsTwice) {
  const AttentionCase problem = sparse_case();
  const AttentionInputs inputs(problem);
  EXPECT_TRUE(run_kernel(problem, inputs, isa()).same_bits(run_kernel(problem, inputs, isa())));
}

TEST_P(AttentionKernelProperties, SameBitsForAnyNumberOfThreads) {
  const AttentionCase problem = sparse_case();
  const AttentionInputs inputs(problem);
  const AttentionResult serial = run_kernel(problem, inputs, isa());
  for (const int threads : {1, 2, 5}) {
    const AttentionResult parallel = run_kernel(problem, inputs, isa(), threads);
    EXPECT_TRUE(serial.same_bits(parallel)) << threads << " threads";
    EXPECT_TRUE(parallel.damage.empty()) << parallel.damage.front();
  }
}

TEST_P(AttentionKernelProperties, BlockMapDoesNotChangeTheResult) {
  AttentionCase problem = sparse_case();
  problem.mask = MaskFamily::kNone;
  const AttentionInputs inputs(problem);
  const AttentionResult with_map = run_kernel(problem, inputs, isa());
  problem.block_map = false;
  AttentionResult without_map = run_kernel(problem, inputs, isa());
  without_map.block_map = with_map.block_map;
  problem.block_map = true;
  expect_close(problem, inputs, with_map, without_map);
}

TEST_P(AttentionKernelProperties, UnselectedBlocksDoNotLeak) {
  const AttentionCase problem = sparse_case();
  const AttentionInputs inputs(problem);
  const AttentionResult clean = run_kernel(problem, inputs, isa());
  for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block) {
    for (const double value : {kNaN, kInfinity, -kInfinity}) {
      SCOPED_TRACE(testing::Message() << "key block " << kv_block << " holds " << value);
      AttentionInputs poisoned = inputs;
      poison_block(problem, poisoned.k, kv_block, value);
      poison_block(problem, poisoned.v, kv_block, value);
      expect_unaffected(problem, inputs, kv_block, clean, run_kernel(problem, poisoned, isa()));
    }
  }
}

TEST_P(AttentionKernelProperties, LaterBlocksDoNotLeakIntoEarlierQueries) {
  AttentionCase problem = sparse_case();
  problem.kv_len = problem.q_len;
  problem.mask = MaskFamily::kAllOnes;
  const AttentionInputs inputs(problem);
  const AttentionResult clean = run_kernel(problem, inputs, isa());
  for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block) {
    SCOPED_TRACE(testing::Message() << "key block " << kv_block << " holds NaN");
    AttentionInputs poisoned = inputs;
    poison_block(problem, poisoned.k, kv_block, kNaN);
    poison_block(problem, poisoned.v, kv_block, kNaN);
    expect_unaffected(problem, inputs, kv_block, clean, run_kernel(problem, poisoned, isa()));
  }
}

TEST_P(AttentionKernelProperties, AGrowingMaskNeverLowersLse) {
  AttentionCase problem = sparse_case();
  problem.mask = MaskFamily::kEmpty;
  AttentionInputs inputs(problem);
  std::vector<float> lse = run_kernel(problem, inputs, isa()).lse;
  for (std::int64_t step = 0; step < problem.num_kv_blocks(); ++step) {
    // Another order of growth for each row of the mask.
    for (std::int64_t b = 0; b < problem.batch; ++b) {
      for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
        for (std::int64_t q_block = 0; q_block < problem.num_q_blocks(); ++q_block) {
          const std::int64_t grown = (3 * step + h + q_block + b) % problem.num_kv_blocks();
          inputs.set_kept(b, h, q_block, grown, true);
        }
      }
    }
    const std::vector<float> grown_lse = run_kernel(problem, inputs, isa()).lse;
    for (std::size_t i = 0; i < lse.size(); ++i) {
      ASSERT_GE(grown_lse[i], lse[i] - problem.tolerance().lse) << "step " << step << " row " << i;
    }
    lse = grown_lse;
  }
}

TEST_P(AttentionKernelProperties, PermutedHeadGroupsPermuteOut) {
  AttentionCase problem = sparse_case();
  problem.sharing = MaskSharing::kEverything;  // so that the mask needs no permutation
  const AttentionInputs inputs(problem);
  const std::int64_t ratio = problem.num_q_heads / problem.num_kv_heads;
  AttentionInputs rotated = inputs;
  const auto source_head = [&](std::int64_t q_head) {
    return (q_head + ratio) % problem.num_q_heads;
  };
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    for (std::int64_t d = 0; d < problem.head_dim; ++d) {
      for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
        for (std::int64_t row = 0; row < problem.q_len; ++row) {
          rotated.q.set(b, h, row, d, inputs.q.at(b, source_head(h), row, d));
        }
      }
      for (std::int64_t h = 0; h < problem.num_kv_heads; ++h) {
        for (std::int64_t row = 0; row < problem.kv_len; ++row) {
          const std::int64_t source = source_head(h * ratio) / ratio;
          rotated.k.set(b, h, row, d, inputs.k.at(b, source, row, d));
          rotated.v.set(b, h, row, d, inputs.v.at(b, source, row, d));
        }
      }
    }
  }
  const AttentionResult plain = run_kernel(problem, inputs, isa());
  const AttentionResult moved = run_kernel(problem, rotated, isa());
  const std::int64_t head_size = problem.q_len * problem.head_dim;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
      for (std::int64_t i = 0; i < head_size; ++i) {
        const std::int64_t first = b * problem.num_q_heads;
        ASSERT_EQ(moved.out.at((first + h) * head_size + i),
                  plain.out.at((first + source_head(h)) * head_size + i))
            << "batch " << b << " head " << h;
      }
    }
  }
}

TEST_P(AttentionKernelProperties, HugeLogitsStayFinite) {
  AttentionCase problem = sparse_case();
  problem.mask = MaskFamily::kAllOnes;
  for (const double logit_scale : {100.0, -100.0, 1e4}) {
    problem.logit_scale = logit_scale;
    const AttentionInputs inputs(problem);
    const AttentionResult result = run_kernel(problem, inputs, isa());
    for (const double value : result.out) ASSERT_TRUE(std::isfinite(value)) << logit_scale;
    for (const float value : result.lse) ASSERT_TRUE(std::isfinite(value)) << logit_scale;
    for (const float value : result.block_map) {
      ASSERT_TRUE(value >= 0 && value <= 1 + 1e-4) << value << " at logit scale " << logit_scale;
    }
  }
}

// Equal keys: every visible key has the same probability, so the result is known without a
// reference.
TEST_P(AttentionKernelProperties, EqualScoresAverageTheValues) {
  const AttentionCase problem = with_element({.name = "equal_scores",
                                              .q_len = 100,
                                              .kv_len = 130,
                                              .head_dim = 24,
                                              .block_size = 32,
                                              .block_map = true});
  AttentionInputs inputs(problem);
  for (std::int64_t row = 0; row < problem.kv_len; ++row) {
    for (std::int64_t d = 0; d < problem.head_dim; ++d) {
      inputs.k.set(0, 0, row, d, inputs.k.at(0, 0, 0, d));
      inputs.v.set(0, 0, row, d, d == 0 ? 1.0 : static_cast<double>(row) / 128);
    }
  }
  const AttentionResult result = run_kernel(problem, inputs, isa());
  const double out_tolerance = problem.element == Element::kBFloat16 ? 8e-3 : 3e-6;
  for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
    for (std::int64_t row = 0; row < problem.q_len; ++row) {
      const std::int64_t seen = row + 1 + problem.kv_len - problem.q_len;
      const std::int64_t index = h * problem.q_len + row;
      double score = 0;
      for (std::int64_t d = 0; d < problem.head_dim; ++d) {
        score += inputs.q.at(0, h, row, d) * inputs.k.at(0, 0, 0, d);
      }
      ASSERT_NEAR(result.lse.at(index),
                  score * problem.scale() + std::log(static_cast<double>(seen)),
                  problem.tolerance().lse);
      ASSERT_NEAR(result.out.at(index * problem.head_dim), 1.0, out_tolerance);
      const double mean = static_cast<double>(seen - 1) / 2 / 128;
      ASSERT_NEAR(result.out.at(index * problem.head_dim + 1), mean, out_tolerance);
    }
    // The first query of a block sees the fewest keys, so it has the largest probability; where it
    // does not reach the block, a later query is the first to.
    for (std::int64_t q_block = 0; q_block < problem.num_q_blocks(); ++q_block) {
      for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block) {
        const std::int64_t index =
            (h * problem.num_q_blocks() + q_block) * problem.num_kv_blocks() + kv_block;
        const std::int64_t first_seen =
            q_block * problem.block_size + 1 + problem.kv_len - problem.q_len;
        const std::int64_t seen = std::max(first_seen, kv_block * problem.block_size + 1);
        const bool visible = problem.block_is_visible(q_block, kv_block);
        ASSERT_NEAR(result.block_map.at(index), visible ? 1.0 / static_cast<double>(seen) : 0.0,
                    2e-5)
            << "query block " << q_block << " key block " << kv_block;
      }
    }
  }
}

TEST_P(AttentionKernelProperties, OneKeyReturnsItsValue) {
  const AttentionCase problem = with_element(
      {.name = "one_key", .q_len = 3, .kv_len = 1, .head_dim = 19, .is_causal = false});
  const AttentionInputs inputs(problem);
  const AttentionResult result = run_kernel(problem, inputs, isa());
  for (std::int64_t row = 0; row < problem.num_q_heads * problem.q_len; ++row) {
    for (std::int64_t d = 0; d < problem.head_dim; ++d) {
      ASSERT_EQ(result.out.at(row * problem.head_dim + d), inputs.v.at(0, 0, 0, d));
    }
  }
}

std::string test_name(const testing::TestParamInfo<std::tuple<CpuIsa, Element>>& info) {
  const bool bfloat16 = std::get<1>(info.param) == Element::kBFloat16;
  return std::string(cpu_isa_name(std::get<0>(info.param))) +
         (bfloat16 ? "_of_bfloat16" : "_of_float32");
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, AttentionKernelProperties,
                         testing::Combine(testing::ValuesIn(all_cpu_isas()),
                                          testing::Values(Element::kFloat32, Element::kBFloat16)),
                         test_name);

}  // namespace
}  // namespace seer::test
