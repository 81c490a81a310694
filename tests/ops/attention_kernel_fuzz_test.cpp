// Random shapes, masks and layouts against the reference.
//   SEER_FUZZ_ITERATIONS  how many cases (60)
//   SEER_TEST_SEED        seed of the first case; case i has seed + i, so the printed seed of a
//                         failed case with SEER_FUZZ_ITERATIONS=1 runs that case alone
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "support/attention_case.h"

namespace seer::test {
namespace {

constexpr std::uint64_t kDefaultIterations = 60;

std::uint64_t number_from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? fallback : std::stoull(text);
}

std::int64_t draw(std::mt19937_64& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

// Small lengths and widths are as likely as large ones.
std::int64_t draw_size(std::mt19937_64& random, std::int64_t high) {
  return draw(random, 0, 3) == 0 ? draw(random, 1, std::min<std::int64_t>(high, 20))
                                 : draw(random, 1, high);
}

AttentionCase draw_case(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  AttentionCase problem;
  problem.name = "fuzz";
  problem.seed = seed;
  problem.element = draw(random, 0, 1) == 0 ? Element::kFloat32 : Element::kBFloat16;
  problem.batch = draw(random, 1, 2);
  problem.num_kv_heads = draw(random, 1, 2);
  problem.num_q_heads = problem.num_kv_heads * draw(random, 1, 9);
  problem.q_len = draw_size(random, 300);
  problem.kv_len = draw(random, 0, 1) == 0 ? problem.q_len : draw_size(random, 400);
  problem.head_dim = draw_size(random, 160);
  problem.block_size = 16LL << draw(random, 0, 3);
  problem.is_causal = draw(random, 0, 2) > 0;
  problem.logit_scale =
      std::vector{1.0, 1.0, 0.0, -0.7, 4.0, 25.0}[static_cast<std::size_t>(draw(random, 0, 5))];
  problem.mask = static_cast<MaskFamily>(draw(random, 0, 7));
  problem.sharing = static_cast<MaskSharing>(draw(random, 0, 4));
  problem.block_map = draw(random, 0, 1) == 0;
  problem.layout = static_cast<Layout>(draw(random, 0, 3));
  return problem;
}

TEST(AttentionKernelFuzz, AgreesWithReference) {
  const std::uint64_t seed = number_from_environment("SEER_TEST_SEED", std::random_device{}());
  const std::uint64_t iterations =
      number_from_environment("SEER_FUZZ_ITERATIONS", kDefaultIterations);
  std::cout << "SEER_TEST_SEED=" << seed << " SEER_FUZZ_ITERATIONS=" << iterations << std::endl;
  for (std::uint64_t i = 0; i < iterations; ++i) {
    const AttentionCase problem = draw_case(seed + i);
    SCOPED_TRACE(testing::Message() << "replay with SEER_TEST_SEED=" << problem.seed
                                    << " SEER_FUZZ_ITERATIONS=1: " << problem);
    const AttentionInputs inputs(problem);
    const AttentionResult expected = run_reference(problem, inputs);
    for (const CpuIsa isa : all_cpu_isas()) {
      if (!cpu_isa_supported(isa)) continue;
      SCOPED_TRACE(cpu_isa_name(isa));
      const int threads = i % 4 == 3 ? 3 : 0;
      expect_close(problem, inputs, run_kernel(problem, inputs, isa, threads), expected);
    }
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace seer::test
