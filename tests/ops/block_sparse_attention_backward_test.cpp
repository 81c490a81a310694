// The kernel of attention's backward against the reference, and what must hold of it whatever the reference says. The
// reference is held against PyTorch's autograd in tests/python/test_attention_backward.py.
#include "kernels/block_sparse_attention_backward/cpu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/block_sparse_attention_backward/reference.h"
#include "support/attention_case.h"
#include "support/pairwise.h"

namespace seer::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A forward that was run by the reference, with random gradients of its results.
struct BackwardInputs {
  explicit BackwardInputs(const AttentionCase& problem, bool has_grad_lse = true)
      : forward(problem), out(result_tensor(problem)), grad_out(result_tensor(problem)) {
    run_forward(problem);
    std::mt19937_64 random(problem.seed + 1);
    std::normal_distribution<double> normal;
    for_each_element(grad_out, [&](auto... at) { grad_out.set(at..., normal(random)); });
    if (!has_grad_lse) return;
    for (std::size_t row = 0; row < lse.size(); ++row)
      grad_lse.push_back(static_cast<float>(normal(random)));
  }

  void run_forward(const AttentionCase& problem) {
    const AttentionResult result = run_reference(problem, forward);
    lse = result.lse;
    auto next = result.out.begin();
    for_each_element(out, [&](auto... at) { out.set(at..., *next++); });
  }

  static HostTensor result_tensor(const AttentionCase& problem) {
    return {problem.batch,   problem.num_q_heads, problem.q_len,           problem.head_dim,
            problem.element, problem.layout,      HostTensor::Role::kInput};
  }

  template <typename Visit>
  static void for_each_element(const HostTensor& tensor, const Visit& visit) {
    for (std::int64_t b = 0; b < tensor.batch(); ++b) {
      for (std::int64_t h = 0; h < tensor.heads(); ++h) {
        for (std::int64_t row = 0; row < tensor.length(); ++row) {
          for (std::int64_t d = 0; d < tensor.head_dim(); ++d) visit(b, h, row, d);
        }
      }
    }
  }

  AttentionInputs forward;
  HostTensor out, grad_out;
  std::vector<float> lse, grad_lse;
};

// The gradients of one run, watched on all sides.
class Gradients {
 public:
  explicit Gradients(const AttentionCase& problem)
      : q(tensor(problem, problem.num_q_heads, problem.q_len)),
        k(tensor(problem, problem.num_kv_heads, problem.kv_len)),
        v(tensor(problem, problem.num_kv_heads, problem.kv_len)) {}

  AttentionBackwardParams params(const AttentionCase& problem, const BackwardInputs& inputs) {
    AttentionBackwardParams params;
    params.forward = inputs.forward.params(problem);
    params.forward.out = const_cast<void*>(inputs.out.data());
    params.forward.out_strides = inputs.out.strides();
    params.forward.lse = const_cast<float*>(inputs.lse.data());
    params.grad_out = inputs.grad_out.data();
    params.grad_out_strides = inputs.grad_out.strides();
    params.grad_lse = inputs.grad_lse.empty() ? nullptr : inputs.grad_lse.data();
    params.grad_q = q.data();
    params.grad_k = k.data();
    params.grad_v = v.data();
    params.grad_q_strides = q.strides();
    params.grad_k_strides = k.strides();
    params.grad_v_strides = v.strides();
    return params;
  }

  bool surroundings_intact() const {
    return q.surroundings_intact() && k.surroundings_intact() && v.surroundings_intact();
  }
  bool same_bits(const Gradients& other) const {
    return same(q, other.q) && same(k, other.k) && same(v, other.v);
  }

  HostTensor q, k, v;

 private:
  static HostTensor tensor(const AttentionCase& problem, std::int64_t heads, std::int64_t length) {
    return {problem.batch,
            heads,
            length,
            problem.head_dim,
            problem.element,
            problem.layout,
            HostTensor::Role::kOutput};
  }
  static bool same(const HostTensor& left, const HostTensor& right) {
    return left.size_bytes() == right.size_bytes() &&
           (left.size_bytes() == 0 ||
            std::memcmp(left.data(), right.data(), left.size_bytes()) == 0);
  }
};

Gradients run_backward_reference(const AttentionCase& problem, const BackwardInputs& inputs) {
  Gradients gradients(problem);
  attention_backward_reference(gradients.params(problem, inputs), 0,
                               problem.batch * problem.num_kv_heads);
  return gradients;
}

// Tasks one after the other (threads = 0) or by threads that draw them from a counter.
Gradients run_backward(const AttentionCase& problem, const BackwardInputs& inputs, CpuIsa isa,
                       int threads = 0) {
  Gradients gradients(problem);
  const AttentionBackwardParams params = gradients.params(problem, inputs);
  const auto num_rows =
      static_cast<std::size_t>(problem.batch * problem.num_q_heads * problem.q_len);
  const std::int64_t num_q_blocks = attention_backward_num_q_blocks(params.forward);
  // What the phases do not write must not matter.
  std::vector<float> lse2(num_rows, static_cast<float>(kNaN)), delta = lse2;
  const bool has_sums = problem.element != Element::kFloat32;
  std::vector<float> sums(has_sums ? num_rows * static_cast<std::size_t>(problem.head_dim) : 0,
                          static_cast<float>(kNaN));
  std::vector<std::int32_t> done(static_cast<std::size_t>(num_q_blocks), 0);
  const AttentionBackwardState state = {.lse2 = lse2.data(),
                                        .delta = delta.data(),
                                        .grad_q = has_sums ? sums.data() : nullptr,
                                        .done = done.data()};
  attention_backward_rows(params, state, isa, 0, num_q_blocks);
  std::atomic<std::int64_t> next = 0;
  const auto work = [&] {
    GuardedMemory scratch(attention_backward_scratch_bytes(params.forward, isa), 0,
                          GuardedMemory::Guards::kBothSides, std::byte{0xFF});
    const std::int64_t num_tasks = attention_backward_num_tasks(params.forward);
    for (std::int64_t task = next++; task < num_tasks; task = next++) {
      std::fill_n(scratch.data(), scratch.size(), std::byte{0xFF});  // NaN
      attention_backward_task(params, state, isa, task, scratch.data());
    }
    EXPECT_TRUE(scratch.guards_intact());
  };
  std::vector<std::thread> workers;
  for (int worker = 0; worker < threads; ++worker) workers.emplace_back(work);
  if (threads == 0) work();
  for (std::thread& worker : workers) worker.join();
  attention_backward_finish(params, state, isa, 0, num_q_blocks);
  EXPECT_TRUE(gradients.surroundings_intact());
  return gradients;
}

// Both compute in more bits than they store, from the same rounded inputs. What is left: float32 sums and scores, whose
// error grows with the scores' size; and the rounding of results, to 8 bits where they are bfloat16.
double tolerance_of(const AttentionCase& problem) {
  const double growth = std::max(1.0, std::abs(problem.logit_scale));
  return (problem.element == Element::kBFloat16 ? 4e-3 : 0) + 4e-6 * growth;
}

void expect_close(const char* name, const AttentionCase& problem, const HostTensor& actual,
                  const HostTensor& expected) {
  const std::vector<double> left = actual.values(), right = expected.values();
  ASSERT_EQ(left.size(), right.size());
  double difference = 0, reference = 0, largest = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    ASSERT_TRUE(std::isfinite(left[i])) << name << ": flat index " << i;
    difference += (left[i] - right[i]) * (left[i] - right[i]);
    reference += right[i] * right[i];
    largest = std::max(largest, std::abs(right[i]));
  }
  // grad_scores is a difference that may all but vanish, as with one key, where it is 0: what was subtracted, about 1 on
  // normal data, sets the error then.
  const double floor = 0.1 * std::sqrt(static_cast<double>(std::max<std::size_t>(1, left.size())));
  const double tolerance = tolerance_of(problem);
  EXPECT_LE(std::sqrt(difference), tolerance * std::max(std::sqrt(reference), floor)) << name;
  // A single wrong element must not drown among many right ones.
  for (std::size_t i = 0; i < left.size(); ++i) {
    ASSERT_LE(std::abs(left[i] - right[i]), 4 * tolerance * std::max(largest, 1.0))
        << name << ": flat index " << i << " is " << left[i] << ", expected " << right[i];
  }
}

void expect_close(const AttentionCase& problem, const Gradients& actual,
                  const Gradients& expected) {
  expect_close("grad_q", problem, actual.q, expected.q);
  expect_close("grad_k", problem, actual.k, expected.k);
  expect_close("grad_v", problem, actual.v, expected.v);
}

std::vector<AttentionCase> hard_cases() {
  std::vector<AttentionCase> cases;
  const auto add = [&](AttentionCase problem) {
    problem.seed = cases.size() + 1;
    const std::string name = problem.name;
    for (const Element element : {Element::kFloat32, Element::kBFloat16}) {
      problem.name = name + "_" + element_name(element);
      problem.element = element;
      cases.push_back(problem);
    }
  };
  using enum MaskFamily;
  add({.name = "no_queries", .q_len = 0, .kv_len = 64});
  add({.name = "no_keys", .q_len = 64, .kv_len = 0});
  add({.name = "no_batch", .batch = 0});
  add({.name = "one_token", .q_len = 1, .kv_len = 1});
  add({.name = "one_query", .num_q_heads = 7, .q_len = 1, .kv_len = 257});
  add({.name = "one_key", .q_len = 130, .kv_len = 1});
  add({.name = "empty_mask", .q_len = 130, .kv_len = 130, .mask = kEmpty});
  for (const std::int64_t length : {63, 64, 65, 129, 257}) {
    for (const bool causal : {true, false}) {
      add({.name = "length_" + std::to_string(length) + (causal ? "_causal" : "_full"),
           .num_q_heads = 3,
           .num_kv_heads = 3,
           .q_len = length,
           .kv_len = length,
           .is_causal = causal});
    }
  }
  for (const std::int64_t head_dim : {1, 7, 16, 17, 31, 33, 80, 96, 127, 128, 256, 511, 512}) {
    add({.name = "head_dim_" + std::to_string(head_dim),
         .q_len = 70,
         .kv_len = 101,
         .head_dim = head_dim,
         .block_size = 32,
         .mask = kRandom,
         .layout = Layout::kPaddedRows});
  }
  for (const std::int64_t block_size : {16, 32, 64, 128}) {
    const std::string suffix = "_block_" + std::to_string(block_size);
    const auto add_masked = [&](const char* name, std::int64_t q_len, std::int64_t kv_len,
                                MaskFamily mask) {
      add({.name = name + suffix,
           .num_q_heads = 4,
           .num_kv_heads = 2,
           .q_len = q_len,
           .kv_len = kv_len,
           .head_dim = 40,
           .block_size = block_size,
           .mask = mask,
           .sharing = MaskSharing::kPerKvHead});
    };
    add_masked("diagonal", 200, 200, kDiagonal);
    add_masked("shifted_diagonal", 200, 257, kDiagonal);
    add_masked("fewer_keys", 257, 130, kFirstAndDiagonal);
    add_masked("empty_rows", 200, 230, kEmptyRows);
    add_masked("ragged", block_size + 1, 3 * block_size - 1, kAllOnes);
  }
  for (const std::int64_t ratio : {1, 3, 4, 7, 8}) {
    add({.name = "heads_per_kv_head_" + std::to_string(ratio),
         .num_q_heads = 2 * ratio,
         .num_kv_heads = 2,
         .q_len = 96,
         .kv_len = 130,
         .head_dim = 16,
         .block_size = 32,
         .mask = kRandom});
  }
  for (const double logit_scale : {0.0, -1.0, 30.0}) {
    add({.name = "logit_scale_" + std::to_string(cases.size()),
         .q_len = 200,
         .kv_len = 230,
         .logit_scale = logit_scale});
  }
  return cases;
}

std::vector<AttentionCase> pairwise_cases() {
  static const std::vector<std::pair<std::int64_t, std::int64_t>> kLengths = {
      {1, 1}, {63, 64}, {65, 65}, {130, 130}, {65, 200}, {200, 257}, {130, 70}, {257, 257}};
  static const std::vector<std::pair<std::int64_t, std::int64_t>> kHeads = {
      {2, 2}, {6, 2}, {4, 1}, {7, 1}, {8, 1}};
  static const std::vector<std::int64_t> kHeadDims = {1, 17, 64, 80, 128, 256};
  static const std::vector<std::int64_t> kBlockSizes = {16, 32, 64, 128};
  constexpr std::size_t kMasks = 8, kSharings = 5, kLayouts = 4;
  constexpr std::uint64_t kSeed = 20261124;
  std::vector<AttentionCase> cases;
  for (const std::vector<std::size_t>& row :
       pairwise_rows({2, 2, kHeads.size(), kLengths.size(), kHeadDims.size(), kBlockSizes.size(),
                      kMasks, kSharings, 2, kLayouts},
                     kSeed)) {
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
    problem.layout = static_cast<Layout>(row[9]);
    problem.seed = 1000 + cases.size();
    cases.push_back(std::move(problem));
  }
  return cases;
}

class AttentionBackward : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionBackward, AgreesWithReference) {
  const AttentionCase& problem = GetParam();
  SCOPED_TRACE(testing::Message() << problem);
  const BackwardInputs inputs(problem, /*has_grad_lse=*/problem.seed % 2 == 0);
  const Gradients expected = run_backward_reference(problem, inputs);
  for (const CpuIsa isa : all_cpu_isas()) {
    if (!cpu_isa_supported(isa)) continue;
    SCOPED_TRACE(cpu_isa_name(isa));
    expect_close(problem, run_backward(problem, inputs, isa), expected);
  }
}

std::string test_name(const testing::TestParamInfo<AttentionCase>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Hard, AttentionBackward, testing::ValuesIn(hard_cases()), test_name);
INSTANTIATE_TEST_SUITE_P(Pairwise, AttentionBackward, testing::ValuesIn(pairwise_cases()),
                         test_name);

class AttentionBackwardProperties : public testing::TestWithParam<Element> {
 protected:
  AttentionCase sparse_case() const {
    return {.name = "sparse",
            .element = GetParam(),
            .batch = 2,
            .num_q_heads = 6,
            .num_kv_heads = 2,
            .q_len = 150,
            .kv_len = 210,
            .head_dim = 40,
            .block_size = 32,
            .mask = MaskFamily::kRandom};
  }

  template <typename Check>
  static void on_each_isa(const Check& check) {
    for (const CpuIsa isa : all_cpu_isas()) {
      if (!cpu_isa_supported(isa)) continue;
      SCOPED_TRACE(cpu_isa_name(isa));
      check(isa);
    }
  }
};

TEST_P(AttentionBackwardProperties, SameBitsOnEveryRunAndForAnyNumberOfThreads) {
  for (const MaskFamily mask : {MaskFamily::kRandom, MaskFamily::kNone}) {
    AttentionCase problem = sparse_case();
    problem.mask = mask;
    const BackwardInputs inputs(problem);
    on_each_isa([&](CpuIsa isa) {
      const Gradients serial = run_backward(problem, inputs, isa);
      for (const int threads : {0, 1, 2, 3, 8}) {
        EXPECT_TRUE(serial.same_bits(run_backward(problem, inputs, isa, threads)))
            << threads << " threads";
      }
    });
  }
}

TEST_P(AttentionBackwardProperties, AllBlocksAreDense) {
  AttentionCase problem = sparse_case();
  problem.mask = MaskFamily::kAllOnes;
  const BackwardInputs masked(problem);
  on_each_isa([&](CpuIsa isa) {
    const Gradients all_blocks = run_backward(problem, masked, isa);
    AttentionCase without_mask = problem;
    without_mask.mask = MaskFamily::kNone;
    EXPECT_TRUE(
        all_blocks.same_bits(run_backward(without_mask, BackwardInputs(without_mask), isa)));
  });
}

// Keys, values and queries of pairs of blocks that are not kept are never read, whatever is in them.
TEST_P(AttentionBackwardProperties, NothingLeaksFromHiddenBlocks) {
  const AttentionCase problem = sparse_case();
  for (const double poison : {kNaN, std::numeric_limits<double>::infinity()}) {
    for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block) {
      BackwardInputs clean(problem);
      for (std::int64_t b = 0; b < problem.batch; ++b) {
        for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
          for (std::int64_t q_block = 0; q_block < problem.num_q_blocks(); ++q_block)
            clean.forward.set_kept(b, h, q_block, kv_block, false);
        }
      }
      clean.run_forward(problem);
      BackwardInputs dirty = clean;
      poison_block(problem, dirty.forward.k, kv_block, poison);
      poison_block(problem, dirty.forward.v, kv_block, poison);
      on_each_isa([&](CpuIsa isa) {
        const Gradients gradients = run_backward(problem, dirty, isa);
        EXPECT_TRUE(gradients.same_bits(run_backward(problem, clean, isa))) << kv_block;
        const std::int64_t first = kv_block * problem.block_size;
        EXPECT_EQ(gradients.k.at(1, 1, first, 0), 0);
        EXPECT_EQ(gradients.v.at(1, 1, first, 0), 0);
      });
    }
  }
}

// Also where such a row stands in a block that others of its block see.
TEST_P(AttentionBackwardProperties, NothingLeaksFromRowsThatSeeNothing) {
  AttentionCase problem = sparse_case();
  problem.q_len = 150;
  problem.kv_len = 75;  // the first 75 queries, up to the middle of a block, see no key
  problem.mask = MaskFamily::kAllOnes;
  const BackwardInputs clean(problem);
  BackwardInputs dirty = clean;
  for (std::int64_t row = 0; row < problem.q_len - problem.kv_len; ++row) {
    for (std::int64_t d = 0; d < problem.head_dim; ++d) {
      dirty.grad_out.set(1, 2, row, d, kNaN);
      dirty.forward.q.set(1, 2, row, d, kNaN);
    }
  }
  on_each_isa([&](CpuIsa isa) {
    const Gradients gradients = run_backward(problem, dirty, isa);
    EXPECT_TRUE(gradients.same_bits(run_backward(problem, clean, isa)));
    for (std::int64_t row = 0; row < problem.q_len - problem.kv_len; ++row)
      EXPECT_EQ(gradients.q.at(1, 2, row, 3), 0);
  });
}

INSTANTIATE_TEST_SUITE_P(Elements, AttentionBackwardProperties,
                         testing::Values(Element::kFloat32, Element::kBFloat16),
                         [](const auto& param) { return std::string(element_name(param.param)); });

}  // namespace
}  // namespace seer::test
