// Recall against attention that was written out by hand.
#include "eval/attention_recall.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

namespace seer {
namespace {

constexpr std::int64_t kBlock = 16;

AttentionCall random_call(std::int64_t layer, std::int64_t q_len, std::int64_t kv_len,
                          at::ScalarType dtype = at::kFloat) {
  AttentionCall call;
  call.layer = layer;
  call.q = at::randn({1, 6, q_len, 8}).to(dtype);
  call.k = at::randn({1, 2, kv_len, 8}).to(dtype);
  call.v = call.k;
  return call;
}

// The softmax of one row, and what of it falls into the blocks of the mask.
double kept_share(const AttentionCall& call, const at::Tensor& mask, std::int64_t row,
                  std::int64_t head) {
  const at::Tensor q = call.q[0][head][row - call.past()].to(at::kDouble);
  const at::Tensor k = call.k[0][head / 3].to(at::kDouble);
  double sum = 0, kept = 0;
  for (std::int64_t key = 0; key <= row; ++key) {
    const double weight = std::exp((q * k[key]).sum().item<double>() / std::sqrt(8.0));
    sum += weight;
    const at::Tensor cell = mask[0][mask.size(1) == 1 ? 0 : head][(row - call.past()) / kBlock];
    if (cell[key / kBlock].item<bool>()) kept += weight;
  }
  return kept / sum;
}

void expect_recall(const AttentionCall& call, const at::Tensor& mask,
                   const std::vector<std::int64_t>& rows, double tolerance) {
  AttentionRecall recall(3, kBlock);
  recall.choose_rows(rows);
  recall.observe(call, mask);
  double expected = 0, terms = 0;
  for (const std::int64_t row : rows) {
    if (row < call.past() || row >= call.kv_len()) continue;
    for (std::int64_t head = 0; head < 6; ++head, ++terms)
      expected += kept_share(call, mask, row, head);
  }
  const std::vector<double> found = recall.layer_recall();
  ASSERT_EQ(found.size(), 3U);
  EXPECT_NEAR(found[static_cast<std::size_t>(call.layer)], expected / terms, tolerance);
  // Layers that were not seen keep everything.
  EXPECT_EQ(found[0], 1.0);
}

TEST(AttentionRecall, EqualsTheSoftmaxWrittenOut) {
  const AttentionCall call = random_call(1, 70, 70);
  expect_recall(call, at::rand({1, 6, 5, 5}) < 0.5, {0, 17, 40, 69}, 1e-6);
  expect_recall(call, at::rand({1, 1, 5, 5}) < 0.5, {31, 32, 64}, 1e-6);
}

TEST(AttentionRecall, ChunkWithKeysBefore) {
  const AttentionCall call = random_call(2, 37, 101);
  expect_recall(call, at::rand({1, 6, 3, 7}) < 0.5, {3, 64, 80, 100}, 1e-6);
}

TEST(AttentionRecall, Bfloat16) {
  // The scores are computed from the rounded numbers, so that only their sums differ.
  expect_recall(random_call(1, 48, 48, at::kBFloat16), at::rand({1, 6, 3, 3}) < 0.5, {20, 47},
                1e-5);
}

TEST(AttentionRecall, EverythingAndNothing) {
  const AttentionCall call = random_call(0, 64, 64);
  AttentionRecall recall(1, kBlock);
  recall.choose_rows({10, 50});
  recall.observe(call, at::ones({1, 6, 4, 4}, at::kBool));
  EXPECT_NEAR(recall.layer_recall()[0], 1.0, 1e-6);
  recall.choose_rows({10, 50});
  recall.observe(call, at::zeros({1, 6, 4, 4}, at::kBool));
  EXPECT_EQ(recall.layer_recall()[0], 0.0);
  recall.choose_rows({10, 50});
  recall.observe(call, at::Tensor());
  EXPECT_EQ(recall.layer_recall()[0], 1.0);
}

TEST(AttentionRecall, ChunksAddUpToTheWhole) {
  const AttentionCall whole = random_call(0, 96, 96);
  const at::Tensor mask = at::rand({1, 6, 6, 6}) < 0.5;
  AttentionRecall at_once(1, kBlock), in_parts(1, kBlock);
  at_once.choose_rows(96, 16, 7);
  in_parts.choose_rows(96, 16, 7);
  at_once.observe(whole, mask);
  for (const std::int64_t end : {32, 96}) {
    const std::int64_t begin = end == 32 ? 0 : 32;
    AttentionCall part = whole;
    part.q = whole.q.slice(2, begin, end);
    part.k = whole.k.slice(2, 0, end);
    in_parts.observe(part, mask.slice(2, begin / kBlock, end / kBlock).slice(3, 0, end / kBlock));
  }
  EXPECT_NEAR(at_once.layer_recall()[0], in_parts.layer_recall()[0], 1e-6);
  EXPECT_LT(at_once.layer_recall()[0], 0.9);
}

TEST(AttentionRecall, FewerTokensThanRows) {
  AttentionRecall recall(1, kBlock);
  recall.choose_rows(4, 16, 0);
  recall.observe(random_call(0, 4, 4), at::ones({1, 1, 1, 1}, at::kBool));
  EXPECT_NEAR(recall.layer_recall()[0], 1.0, 1e-6);
}

}  // namespace
}  // namespace seer
