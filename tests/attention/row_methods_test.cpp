// Quest and XAttention, which score the blocks of each row: planted needles and blocks, and plain loops in double.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "score_sample.h"
#include "selection/quest.h"
#include "selection/xattention.h"

namespace seer {
namespace {

using namespace test;

double quest_reference(const Sample& sample, std::int64_t head, std::int64_t row,
                       std::int64_t block) {
  const Matrix queries = sample.queries(head), keys = sample.keys(head);
  double largest = -std::numeric_limits<double>::infinity();
  for (std::int64_t i = row * kBlock; i < std::min((row + 1) * kBlock, sample.grid.q_len); ++i) {
    if (block * kBlock > i + sample.grid.past()) continue;
    double bound = 0;
    for (std::size_t d = 0; d < keys.front().size(); ++d) {
      double most = -std::numeric_limits<double>::infinity(), least = -most;
      for (std::int64_t j = block * kBlock; j < std::min((block + 1) * kBlock, sample.grid.kv_len);
           ++j) {
        most = std::max(most, keys[static_cast<std::size_t>(j)][d]);
        least = std::min(least, keys[static_cast<std::size_t>(j)][d]);
      }
      const double x = queries[static_cast<std::size_t>(i)][d];
      bound += std::max(x * most, x * least);
    }
    largest = std::max(largest, bound * sample.scale());
  }
  return largest;
}

TEST(Quest, IsTheBoundOfTheRowsQueries) {
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes = kShapes;
  shapes.insert(shapes.end(), {{40, 50}, {17, 36}});  // rows that do not begin with blocks
  for (const auto& [q_len, kv_len] : shapes) {
    const Sample sample(q_len, kv_len);
    expect_scores(
        quest_scores(sample.q, sample.k, sample.grid), sample, 1e-5, false,
        [&](auto head, auto row, auto block) { return quest_reference(sample, head, row, block); });
    expect_same_in_bfloat16(
        [&](const at::Tensor& q, const at::Tensor& k) { return quest_scores(q, k, sample.grid); },
        sample, 1e-5);
  }
}

TEST(Quest, BoundsEveryProductAndFindsASingleKey) {
  const Sample sample(160, 160);
  at::Tensor k = sample.k.clone(), q = sample.q.clone();
  const at::Tensor direction = at::ones({8}) * 3;
  k[0][1][5 * kBlock + 3].copy_(direction);
  q[0][3][9 * kBlock + 7].copy_(direction);
  const at::Tensor scores = quest_scores(q, k, sample.grid);
  EXPECT_EQ(scores[0][3][9].argmax().item<std::int64_t>(), 5);
  const at::Tensor logits = at::matmul(q, k.repeat_interleave(2, 1).transpose(2, 3)) / std::sqrt(8);
  const at::Tensor true_max = logits.view({4, 10, kBlock, 10, kBlock}).amax({2, 4});
  EXPECT_TRUE((scores[0] >= true_max - 1e-5)
                  .logical_or(sample.grid.visible_mask().logical_not())
                  .all()
                  .item<bool>());
}

// The map of one head, [rows][blocks].
Matrix xattention_reference(const Sample& sample, std::int64_t head, std::int64_t stride) {
  const Matrix queries = sample.queries(head), keys = sample.keys(head);
  Matrix map(static_cast<std::size_t>(sample.grid.q_blocks()),
             Row(static_cast<std::size_t>(sample.grid.kv_blocks()), 0.0));
  for (std::int64_t row = 0; row < sample.grid.q_blocks(); ++row) {
    const std::int64_t end = std::min((row + 1) * kBlock, sample.grid.q_len);
    const double groups = std::ceil(static_cast<double>(end - row * kBlock) / stride);
    for (std::int64_t first = row * kBlock; first < end; first += stride) {
      const std::int64_t last_position =
          sample.grid.past() + std::min(first + stride, sample.grid.q_len) - 1;
      Row logits;
      for (std::int64_t j = 0; j <= last_position; j += stride) {
        double sum = 0;
        for (std::int64_t s = 0; s < stride; ++s) {
          const std::int64_t i = first + stride - 1 - s;
          if (i >= sample.grid.q_len || j + s >= sample.grid.kv_len) continue;
          sum += dot(queries[static_cast<std::size_t>(i)], keys[static_cast<std::size_t>(j + s)]);
        }
        logits.push_back(sum * sample.scale() / static_cast<double>(stride));
      }
      softmax(logits);
      for (std::size_t j = 0; j < logits.size(); ++j) {
        map[static_cast<std::size_t>(row)][j * static_cast<std::size_t>(stride) / kBlock] +=
            logits[j] / groups;
      }
    }
  }
  return map;
}

TEST(Xattention, IsTheSoftmaxOfAntidiagonals) {
  for (const auto& [q_len, kv_len] : kShapes) {
    for (const std::int64_t stride : {1, 4, 16}) {
      const Sample sample(q_len, kv_len);
      std::vector<Matrix> maps;
      for (std::int64_t head = 0; head < sample.heads(); ++head)
        maps.push_back(xattention_reference(sample, head, stride));
      const at::Tensor map = xattention_probabilities(sample.q, sample.k, sample.grid, stride);
      expect_scores(map, sample, 1e-5, false, [&](auto head, auto row, auto block) {
        return maps[static_cast<std::size_t>(head)][static_cast<std::size_t>(row)]
                   [static_cast<std::size_t>(block)];
      });
      EXPECT_TRUE(at::allclose(map.sum(-1), at::ones({1, 4, sample.grid.q_blocks()}), 1e-5));
      EXPECT_EQ(map.masked_select(sample.grid.visible_mask().logical_not())
                    .count_nonzero()
                    .item<std::int64_t>(),
                0);
    }
  }
}

TEST(Xattention, TakesHalfPrecision) {
  const Sample sample(131, 131);
  expect_same_in_bfloat16(
      [&](const at::Tensor& q, const at::Tensor& k) {
        return xattention_probabilities(q, k, sample.grid, 4);
      },
      sample, 1e-5);
}

TEST(Xattention, FindsAPlantedBlock) {
  const Sample sample(160, 160);
  at::Tensor k = sample.k * 0.1, q = sample.q * 0.1;
  k.narrow(2, 3 * kBlock, kBlock).fill_(1);
  q.narrow(2, 8 * kBlock, kBlock).fill_(1);
  const at::Tensor map = xattention_probabilities(q, k, sample.grid, 8);
  for (std::int64_t head = 0; head < 4; ++head)
    EXPECT_EQ(map[0][head][8].argmax().item<std::int64_t>(), 3);
}

TEST(ChunksOfWholeBlocks, HaveTheScoresOfThePromptAtOnce) {
  const Sample whole(150, 150);
  const at::Tensor quest = quest_scores(whole.q, whole.k, whole.grid);
  const at::Tensor xattention = xattention_probabilities(whole.q, whole.k, whole.grid, 8);
  for (std::int64_t first = 0; first < 150; first += 48) {
    const std::int64_t length = std::min<std::int64_t>(48, 150 - first);
    const BlockGrid part = {.q_len = length, .kv_len = first + length, .block_size = kBlock};
    const at::Tensor q = whole.q.narrow(2, first, length);
    const at::Tensor k = whole.k.narrow(2, 0, first + length);
    const auto of_whole = [&](const at::Tensor& scores) {
      return scores.narrow(2, first / kBlock, part.q_blocks()).narrow(3, 0, part.kv_blocks());
    };
    EXPECT_TRUE(at::allclose(xattention_probabilities(q, k, part, 8), of_whole(xattention)));
    const at::Tensor visible = part.visible_mask();
    EXPECT_TRUE(at::allclose(quest_scores(q, k, part).masked_select(visible),
                             of_whole(quest).masked_select(visible)));
  }
}

}  // namespace
}  // namespace seer
