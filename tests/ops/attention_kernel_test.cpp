// The attention kernel against the reference: hard shapes one by one, then every pair of choices.
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/attention_case.h"
#include "support/pairwise.h"

namespace seer::test {
namespace {

constexpr std::uint64_t kPairwiseSeed = 20240611;

// float32 and bfloat16 versions of each case.
void add_both(std::vector<AttentionCase>& cases, AttentionCase problem) {
  problem.seed = cases.size() + 1;
  const std::string name = problem.name;
  problem.name = name + "_float32";
  problem.element = Element::kFloat32;
  cases.push_back(problem);
  problem.name = name + "_bfloat16";
  problem.element = Element::kBFloat16;
  cases.push_back(problem);
}

std::vector<AttentionCase> hard_cases() {
  std::vector<AttentionCase> cases;
  const auto add = [&](AttentionCase problem) { add_both(cases, std::move(problem)); };
  using enum MaskFamily;

  add({.name = "no_queries", .q_len = 0, .kv_len = 64, .block_map = true});
  add({.name = "no_keys", .q_len = 64, .kv_len = 0, .block_map = true});
  add({.name = "no_keys_not_causal", .q_len = 65, .kv_len = 0, .is_causal = false});
  add({.name = "no_batch", .batch = 0, .block_map = true});
  add({.name = "nothing", .q_len = 0, .kv_len = 0, .mask = kAllOnes});
  add({.name = "one_token", .q_len = 1, .kv_len = 1, .block_map = true});
  add({.name = "one_query", .num_q_heads = 7, .q_len = 1, .kv_len = 257, .block_map = true});
  add({.name = "one_key", .q_len = 130, .kv_len = 1, .block_map = true});
  for (const std::int64_t length : {63, 64, 65, 127, 129, 257}) {
    for (const bool causal : {true, false}) {
      add({.name = "length_" + std::to_string(length) + (causal ? "_causal" : "_full"),
           .num_q_heads = 3,
           .num_kv_heads = 3,
           .q_len = length,
           .kv_len = length,
           .is_causal = causal,
           .block_map = true});
    }
  }
  for (const std::int64_t head_dim :
       {1, 2, 7, 15, 17, 31, 33, 64, 72, 80, 96, 127, 128, 160, 192, 255, 256, 320, 511, 512}) {
    add({.name = "head_dim_" + std::to_string(head_dim),
         .num_q_heads = 3,
         .q_len = 70,
         .kv_len = 101,
         .head_dim = head_dim,
         .block_size = 32,
         .mask = kRandom,
         .layout = Layout::kPaddedRows});
  }
  for (const std::int64_t block_size : {16, 32, 64, 128}) {
    const std::string suffix = "_block_" + std::to_string(block_size);
    add({.name = "diagonal" + suffix,
         .q_len = 200,
         .kv_len = 200,
         .block_size = block_size,
         .mask = kDiagonal});
    // The keys of the diagonal reach over two blocks: early queries of a kept block see nothing.
    add({.name = "shifted_diagonal" + suffix,
         .q_len = 200,
         .kv_len = 257,
         .block_size = block_size,
         .mask = kDiagonal,
         .block_map = true});
    add({.name = "fewer_keys" + suffix,
         .q_len = 257,
         .kv_len = 130,
         .block_size = block_size,
         .mask = kFirstAndDiagonal,
         .block_map = true});
    add({.name = "empty_rows" + suffix,
         .num_q_heads = 4,
         .q_len = 200,
         .kv_len = 230,
         .block_size = block_size,
         .mask = kEmptyRows,
         .sharing = MaskSharing::kPerKvHead});
    add({.name = "ragged_blocks" + suffix,
         .q_len = block_size + 1,
         .kv_len = 3 * block_size - 1,
         .head_dim = 80,
         .block_size = block_size,
         .mask = kAllOnes,
         .block_map = true});
  }
  add({.name = "empty_mask", .q_len = 130, .kv_len = 130, .mask = kEmpty, .block_map = true});
  add({.name = "long_keys", .num_q_heads = 8, .q_len = 16, .kv_len = 2050, .block_map = true});
  add({.name = "long_keys_sparse", .num_q_heads = 8, .q_len = 80, .kv_len = 2050, .mask = kRandom});
  for (const std::int64_t ratio : {1, 3, 4, 7, 8, 32}) {
    add({.name = "heads_per_kv_head_" + std::to_string(ratio),
         .num_q_heads = 2 * ratio,
         .num_kv_heads = 2,
         .q_len = 96,
         .kv_len = 130,
         .head_dim = 16,
         .block_size = 32,
         .mask = kRandom,
         .block_map = true});
  }
  for (const double logit_scale : {0.0, -1.0, 30.0, 100.0, -100.0}) {
    const std::string size = std::to_string(std::abs(static_cast<int>(logit_scale)));
    add({.name = std::string("logit_scale_") + (logit_scale < 0 ? "minus_" : "") + size,
         .q_len = 200,
         .kv_len = 230,
         .logit_scale = logit_scale,
         .block_map = true});
  }
  return cases;
}

std::vector<AttentionCase> pairwise_cases() {
  static const std::vector<std::pair<std::int64_t, std::int64_t>> kLengths = {
      {1, 1},    {63, 64},   {64, 64},  {65, 65},  {130, 130},
      {65, 200}, {200, 257}, {130, 70}, {257, 257}};
  static const std::vector<std::pair<std::int64_t, std::int64_t>> kHeads = {
      {2, 2}, {6, 2}, {4, 1}, {7, 1}, {8, 1}};
  static const std::vector<std::int64_t> kHeadDims = {1, 17, 64, 80, 96, 128, 256};
  static const std::vector<std::int64_t> kBlockSizes = {16, 32, 64, 128};
  constexpr std::size_t kMasks = 8, kSharings = 5, kLayouts = 4;

  std::vector<AttentionCase> cases;
  for (const std::vector<std::size_t>& row :
       pairwise_rows({2, 2, kHeads.size(), kLengths.size(), kHeadDims.size(), kBlockSizes.size(),
                      kMasks, kSharings, 2, 2, kLayouts},
                     kPairwiseSeed)) {
    AttentionCase problem;
    problem.name = "pairwise_" + std::to_string(cases.size());
    problem.element = row[0] == 0 ? Element::kFloat32 : Element::kBFloat16;
    problem.batch = static_cast<std::int64_t>(row[1]) + 1;
    std::tie(problem.num_q_heads, problem.num_kv_heads) = kHeads[row[2]];
    std::tie(problem.q_len, problem.kv_len) = kLengths[row[3]];
    problem.head_dim = kHeadDims[row[4]];
    problem.block_size = kBlockSizes[row[5]];
    problem.mask = static_cast<MaskFamily>(row[6]);
    problem.sharing = static_cast<MaskSharing>(row[7]);
    problem.is_causal = row[8] == 0;
    problem.block_map = row[9] == 0;
    problem.layout = static_cast<Layout>(row[10]);
    problem.seed = 1000 + cases.size();
    cases.push_back(std::move(problem));
  }
  return cases;
}

// The reference is the slow half: the instruction sets of one case follow each other and share it.
const AttentionResult& expected_result(const AttentionCase& problem,
                                       const AttentionInputs& inputs) {
  static std::string name;
  static AttentionResult result;
  if (name != problem.name) {
    result = run_reference(problem, inputs);
    name = problem.name;
  }
  return result;
}

class AttentionKernel : public testing::TestWithParam<std::tuple<AttentionCase, CpuIsa>> {};

TEST_P(AttentionKernel, AgreesWithReference) {
  const auto& [problem, isa] = GetParam();
  if (!cpu_isa_supported(isa)) {
    GTEST_SKIP() << "this processor does not support " << cpu_isa_name(isa);
  }
  SCOPED_TRACE(testing::Message() << problem);
  const AttentionInputs inputs(problem);
  expect_close(problem, inputs, run_kernel(problem, inputs, isa), expected_result(problem, inputs));
}

std::string test_name(const testing::TestParamInfo<AttentionKernel::ParamType>& info) {
  return std::get<0>(info.param).name + "_" + std::string(cpu_isa_name(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(Hard, AttentionKernel,
                         testing::Combine(testing::ValuesIn(hard_cases()),
                                          testing::ValuesIn(all_cpu_isas())),
                         test_name);

INSTANTIATE_TEST_SUITE_P(Pairwise, AttentionKernel,
                         testing::Combine(testing::ValuesIn(pairwise_cases()),
                                          testing::ValuesIn(all_cpu_isas())),
                         test_name);

}  // namespace
}  // namespace seer::test
