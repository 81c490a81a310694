// The attention operators on the GPU against the double reference: hard shapes one by one, then every pair of choices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/gpu/attention_on_gpu.h"
#include "ops/gpu/gpu_test.h"
#include "support/attention_case.h"
#include "support/pairwise.h"

namespace seer::test {
namespace {

constexpr std::uint64_t kPairwiseSeed = 20261124;
constexpr std::int64_t kHeadDims[] = {64, 128};
constexpr std::int64_t kBlockSizes[] = {64, 128};
constexpr Element kElements[] = {Element::kBFloat16, Element::kFloat16};

// What the reference uses to be ready in time.
int reference_threads() {
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

// The case with each element type, head_dim and block_size that has kernels.
void add_each_kernel(std::vector<AttentionCase>& cases, AttentionCase problem) {
  const std::string name = problem.name;
  for (const Element element : kElements) {
    for (const std::int64_t head_dim : kHeadDims) {
      for (const std::int64_t block_size : kBlockSizes) {
        problem.element = element;
        problem.head_dim = head_dim;
        problem.block_size = block_size;
        problem.seed = cases.size() + 1;
        problem.name = name + "_" + element_name(element) + "_d" + std::to_string(head_dim) + "_b" +
                       std::to_string(block_size);
        cases.push_back(problem);
      }
    }
  }
}

// Without a mask: with the block map, and as the sparse operator with every block.
void add_dense(std::vector<AttentionCase>& cases, AttentionCase problem) {
  const std::string name = problem.name;
  problem.name = name + "_map";
  problem.block_map = true;
  add_each_kernel(cases, problem);
  problem.name = name + "_all_blocks";
  problem.block_map = false;
  problem.mask = MaskFamily::kAllOnes;
  problem.sharing = MaskSharing::kEverything;
  add_each_kernel(cases, problem);
}

std::vector<AttentionCase> hard_cases() {
  std::vector<AttentionCase> cases;
  using enum MaskFamily;

  add_dense(cases, {.name = "no_queries", .q_len = 0, .kv_len = 64});
  add_dense(cases, {.name = "no_keys", .q_len = 65, .kv_len = 0});
  add_dense(cases, {.name = "no_batch", .batch = 0});
  for (const std::int64_t length : {1, 63, 64, 65, 127, 128, 129, 257}) {
    for (const bool causal : {true, false}) {
      add_dense(cases, {.name = "length_" + std::to_string(length) + (causal ? "_causal" : "_full"),
                        .num_q_heads = 3,
                        .num_kv_heads = 3,
                        .q_len = length,
                        .kv_len = length,
                        .is_causal = causal});
    }
  }
  add_dense(cases, {.name = "length_1000", .num_q_heads = 2, .q_len = 1000, .kv_len = 1000});
  add_dense(cases, {.name = "one_query", .num_q_heads = 7, .q_len = 1, .kv_len = 513});
  add_dense(cases, {.name = "more_keys", .q_len = 130, .kv_len = 500});
  add_dense(cases, {.name = "fewer_keys", .q_len = 300, .kv_len = 70});
  for (const std::int64_t ratio : {1, 3, 4, 7, 8}) {
    add_dense(cases, {.name = "heads_per_kv_head_" + std::to_string(ratio),
                      .batch = 2,
                      .num_q_heads = 2 * ratio,
                      .num_kv_heads = 2,
                      .q_len = 96,
                      .kv_len = 150});
  }
  for (const MaskFamily mask :
       {kEmpty, kDiagonal, kEmptyRows, kRandom, kSingleBlock, kFirstAndDiagonal}) {
    const std::string suffix = std::to_string(static_cast<int>(mask));
    add_each_kernel(cases, {.name = "mask_" + suffix,
                            .batch = 2,
                            .num_q_heads = 6,
                            .num_kv_heads = 2,
                            .q_len = 700,
                            .kv_len = 700,
                            .mask = mask});
    add_each_kernel(cases, {.name = "mask_more_keys_" + suffix,
                            .num_q_heads = 4,
                            .q_len = 200,
                            .kv_len = 1000,
                            .mask = mask,
                            .sharing = MaskSharing::kPerKvHead,
                            .layout = Layout::kLengthMajor});
  }
  for (const Layout layout :
       {Layout::kLengthMajor, Layout::kPaddedRows, Layout::kOddAddress, Layout::kAlignedRows}) {
    add_dense(cases, {.name = "layout_" + std::to_string(static_cast<int>(layout)),
                      .batch = 2,
                      .num_q_heads = 4,
                      .num_kv_heads = 2,
                      .q_len = 130,
                      .kv_len = 200,
                      .layout = layout});
  }
  for (const double logit_scale : {0.0, -1.0, 1e-40, 30.0, 100.0, -100.0}) {
    const std::string size = std::to_string(static_cast<int>(std::abs(logit_scale)));
    add_dense(cases, {.name = std::string("logit_scale_") + (logit_scale < 0 ? "minus_" : "") +
                              (logit_scale == 1e-40 ? "tiny" : size),
                      .q_len = 200,
                      .kv_len = 230,
                      .logit_scale = logit_scale});
  }
  return cases;
}

std::vector<AttentionCase> pairwise_cases() {
  static const std::vector<std::pair<std::int64_t, std::int64_t>> kLengths = {
      {1, 1},     {63, 64},   {64, 64},   {65, 65},   {130, 130},
      {65, 1000}, {200, 257}, {300, 130}, {513, 513}, {1, 700}};
  static const std::vector<std::pair<std::int64_t, std::int64_t>> kHeads = {
      {2, 2}, {6, 2}, {4, 1}, {7, 1}, {8, 1}};
  constexpr std::size_t kMasks = 8, kSharings = 5, kLayouts = 5;

  std::vector<AttentionCase> cases;
  for (const std::vector<std::size_t>& row : pairwise_rows(
           {2, 2, kHeads.size(), kLengths.size(), 2, 2, kMasks, kSharings, 2, kLayouts, 2},
           kPairwiseSeed)) {
    AttentionCase problem;
    problem.name = "pairwise_" + std::to_string(cases.size());
    problem.element = kElements[row[0]];
    problem.batch = static_cast<std::int64_t>(row[1]) * 2 + 1;
    std::tie(problem.num_q_heads, problem.num_kv_heads) = kHeads[row[2]];
    std::tie(problem.q_len, problem.kv_len) = kLengths[row[3]];
    problem.head_dim = kHeadDims[row[4]];
    problem.block_size = kBlockSizes[row[5]];
    problem.mask = static_cast<MaskFamily>(row[6]);
    problem.sharing = static_cast<MaskSharing>(row[7]);
    problem.is_causal = row[8] == 0;
    problem.layout = static_cast<Layout>(row[9]);
    problem.block_map = row[10] == 0 && problem.mask == MaskFamily::kNone;
    problem.seed = 1000 + cases.size();
    cases.push_back(std::move(problem));
  }
  return cases;
}

class GpuAttention : public GpuTest, public testing::WithParamInterface<AttentionCase> {};

TEST_P(GpuAttention, AgreesWithReference) {
  AttentionCase problem = GetParam();
  problem.coarseness_of_map = kCoarsenessOfMap;
  SCOPED_TRACE(testing::Message() << problem);
  const AttentionInputs inputs(problem);
  expect_close(problem, inputs, run_on_gpu(problem, inputs),
               run_reference(problem, inputs, reference_threads()));
}

std::string test_name(const testing::TestParamInfo<AttentionCase>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Hard, GpuAttention, testing::ValuesIn(hard_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Pairwise, GpuAttention, testing::ValuesIn(pairwise_cases()), test_name);

}  // namespace
}  // namespace seer::test
