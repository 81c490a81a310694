// MInference and FlexPrefill, which score the blocks of a whole head: planted lines, and plain loops in double.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "score_sample.h"
#include "selection/block_selector.h"
#include "selection/flexprefill.h"
#include "selection/head_selection.h"
#include "selection/line_scores.h"
#include "selection/minference.h"

namespace seer {
namespace {

using namespace test;

// The attention of the last queries of one head, added up along columns and distances.
struct Lines {
  Row columns, distances;
};
Lines lines_of(const Sample& sample, std::int64_t head, std::int64_t last) {
  const Matrix queries = sample.queries(head), keys = sample.keys(head);
  Lines lines{Row(keys.size(), 0.0), Row(keys.size(), 0.0)};
  for (std::int64_t i = std::max<std::int64_t>(0, sample.grid.q_len - last); i < sample.grid.q_len;
       ++i) {
    const std::int64_t position = sample.grid.past() + i;
    Row attention;
    for (std::int64_t j = 0; j <= position; ++j) {
      attention.push_back(sample.scale() * dot(queries[static_cast<std::size_t>(i)],
                                               keys[static_cast<std::size_t>(j)]));
    }
    softmax(attention);
    for (std::int64_t j = 0; j <= position; ++j) {
      lines.columns[static_cast<std::size_t>(j)] += attention[static_cast<std::size_t>(j)];
      lines.distances[static_cast<std::size_t>(position - j)] +=
          attention[static_cast<std::size_t>(j)];
    }
  }
  return lines;
}

// Calls visit(distance) for each pair of a query and a key of two whole blocks that lie `diagonal` blocks apart.
template <typename Visit>
void for_each_distance(std::int64_t diagonal, std::size_t keys, const Visit& visit) {
  for (std::int64_t i = 0; i < kBlock; ++i) {
    for (std::int64_t j = 0; j < kBlock; ++j) {
      const std::int64_t distance = diagonal * kBlock + i - j;
      if (distance >= 0 && distance < static_cast<std::int64_t>(keys))
        visit(static_cast<std::size_t>(distance));
    }
  }
}

TEST(Minference, IsTheBestLineThroughABlock) {
  for (const auto& [q_len, kv_len] : kShapes) {
    for (const std::int64_t last : {1, 20, 64}) {
      const Sample sample(q_len, kv_len);
      if (sample.grid.past() % kBlock != 0) continue;
      std::vector<Lines> lines;
      for (std::int64_t head = 0; head < sample.heads(); ++head)
        lines.push_back(lines_of(sample, head, last));
      expect_scores(minference_scores(sample.q, sample.k, sample.grid, last), sample, 1e-5, true,
                    [&](auto head, auto row, auto block) {
                      const Lines& of = lines[static_cast<std::size_t>(head)];
                      double best = 0;
                      for (std::int64_t j = block * kBlock;
                           j < std::min((block + 1) * kBlock, sample.grid.kv_len); ++j)
                        best = std::max(best, of.columns[static_cast<std::size_t>(j)]);
                      for_each_distance(
                          sample.grid.past() / kBlock + row - block, of.distances.size(),
                          [&](std::size_t t) { best = std::max(best, of.distances[t]); });
                      return best;
                    });
    }
  }
}

TEST(Minference, KeepsAPlantedColumnAndAPlantedDiagonal) {
  constexpr std::int64_t kLength = 400, kColumn = 37, kDistance = 100;
  at::manual_seed(5);
  // Each place has a direction of its own, which the query `kDistance` later asks for. Eight dimensions more are the
  // column's, which every query asks for as much.
  at::Tensor places = at::randn({kLength, 32});
  places = places / places.norm(2, {1}, /*keepdim=*/true) * std::sqrt(32.0);
  at::Tensor k = at::cat({places, at::zeros({kLength, 8})}, 1);
  at::Tensor q = at::cat({at::zeros({kLength, 32}), at::ones({kLength, 8})}, 1);
  q.narrow(0, kDistance, kLength - kDistance)
      .narrow(1, 0, 32)
      .copy_(places.narrow(0, 0, kLength - kDistance) * 4);
  k[kColumn].fill_(0).narrow(0, 32, 8).fill_(16);
  const BlockGrid grid = {.q_len = kLength, .kv_len = kLength, .block_size = kBlock};
  // Per row: the first block, the last, the column's, and two of the diagonal, which no multiple of a block divides.
  const BlockSelector selector(SelectionPolicy::parse("minference:budget=80"), nullptr);
  const at::Tensor scores =
      minference_scores(q.view({1, 1, kLength, 40}), k.view({1, 1, kLength, 40}), grid, 64);
  const at::Tensor mask = selector.select(scores, grid, kLength, 0)[0][0];
  std::int64_t asked = 0;
  for (std::int64_t row = 0; row < 25; ++row) {
    asked += std::min<std::int64_t>(5, row + 1);
    for (const std::int64_t block : std::vector<std::int64_t>{
             0, row, kColumn / kBlock, row - kDistance / kBlock, row - kDistance / kBlock - 1}) {
      if (block < 0 || block > row) continue;
      EXPECT_TRUE(mask[row][block].item<bool>()) << row << " " << block;
    }
  }
  EXPECT_EQ(mask.sum().item<std::int64_t>(), asked);
}

// What the method says about one head, in double.
struct Flexprefill {
  double divergence = 0;
  Row columns, diagonals;  // by block
  Matrix pooled;           // [rows][blocks]

  Flexprefill(const Sample& sample, std::int64_t head) {
    const Matrix queries = sample.queries(head), keys = sample.keys(head);
    const BlockGrid& grid = sample.grid;
    const std::int64_t last = std::min(kBlock, grid.q_len);
    const Lines lines = lines_of(sample, head, last);
    Row truth, estimate;
    Matrix k_means;
    const Row q_mean = mean_of(queries, grid.q_len - last, grid.q_len);
    for (std::int64_t block = 0; block < grid.kv_blocks(); ++block) {
      const std::int64_t end = std::min((block + 1) * kBlock, grid.kv_len);
      columns.push_back(std::accumulate(lines.columns.begin() + block * kBlock,
                                        lines.columns.begin() + end, 0.0));
      double sum = 0;
      for_each_distance(block, lines.distances.size(),
                        [&](std::size_t t) { sum += lines.distances[t] / kBlock; });
      diagonals.push_back(sum);
      truth.push_back(columns.back() / static_cast<double>(last));
      k_means.push_back(mean_of(keys, block * kBlock, end));
      estimate.push_back(dot(q_mean, k_means.back()) * sample.scale());
    }
    softmax(estimate);
    double js = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const double middle = (truth[i] + estimate[i]) / 2;
      if (truth[i] > 0) js += truth[i] * std::log(truth[i] / middle) / 2;
      js += estimate[i] * std::log(estimate[i] / middle) / 2;
    }
    divergence = std::sqrt(std::max(js, 0.0));
    for (std::int64_t row = 0; row < grid.q_blocks(); ++row) {
      const Row mean = mean_of(queries, row * kBlock, std::min((row + 1) * kBlock, grid.q_len));
      Row logits;
      for (std::int64_t block = 0; block < grid.visible_in_row(row); ++block)
        logits.push_back(dot(mean, k_means[static_cast<std::size_t>(block)]) * sample.scale());
      softmax(logits);
      pooled.push_back(logits);
    }
  }
};

TEST(Flexprefill, TakesMeansOrLinesByDivergence) {
  for (const auto& [q_len, kv_len] : kShapes) {
    const Sample sample(q_len, kv_len);
    if (sample.grid.past() % kBlock != 0) continue;
    std::vector<Flexprefill> heads;
    Row divergences;
    for (std::int64_t head = 0; head < sample.heads(); ++head) {
      heads.emplace_back(sample, head);
      divergences.push_back(heads.back().divergence);
    }
    std::sort(divergences.begin(), divergences.end());
    const double tau = (divergences[1] + divergences[2]) / 2 + 1e-3;
    const at::Tensor is_query_aware =
        flexprefill_is_query_aware(sample.q, sample.k, sample.grid, tau);
    for (std::size_t head = 0; head < 4; ++head)
      EXPECT_EQ(is_query_aware[static_cast<std::int64_t>(head)].item<bool>(),
                heads[head].divergence < tau);
    expect_scores(flexprefill_scores(sample.q, sample.k, sample.grid, tau), sample, 1e-5, true,
                  [&](auto head, auto row, auto block) {
                    const Flexprefill& of = heads[static_cast<std::size_t>(head)];
                    const auto at = static_cast<std::size_t>(block);
                    if (of.divergence < tau) return of.pooled[static_cast<std::size_t>(row)][at];
                    const std::int64_t diagonal = sample.grid.past() / kBlock + row - block;
                    return std::max(of.columns[at],
                                    of.diagonals[static_cast<std::size_t>(diagonal)]);
                  });
  }
}

// The fewest, from the largest on, that have `mass` of all; `first_is_kept`: number 0 comes before all others.
std::vector<bool> fewest(const Row& row, double mass, std::int64_t least, bool first_is_kept) {
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin() + (first_is_kept ? 1 : 0), order.end(),
                   [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  const double wanted = mass * std::accumulate(row.begin(), row.end(), 0.0);
  std::vector<bool> kept(row.size(), false);
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (sum >= wanted && static_cast<std::int64_t>(i) >= least) break;
    kept[order[i]] = true;
    sum += row[order[i]];
  }
  return kept;
}

TEST(Flexprefill, MassKeepsTheFewestOfEachHead) {
  const Sample sample(150, 198);
  std::vector<Flexprefill> heads;
  Row divergences;
  for (std::int64_t head = 0; head < 4; ++head) heads.emplace_back(sample, head);
  for (const Flexprefill& of : heads) divergences.push_back(of.divergence);
  std::sort(divergences.begin(), divergences.end());
  const double tau = (divergences[1] + divergences[2]) / 2;
  for (const auto& [mass, min_budget] :
       std::vector<std::pair<double, std::int64_t>>{{0.3, 0}, {0.7, 50}, {0.95, 16}}) {
    const at::Tensor mask =
        flexprefill_mask(sample.q, sample.k, sample.grid, tau, mass, min_budget)[0];
    const std::int64_t least = std::max<std::int64_t>(1, (min_budget + kBlock - 1) / kBlock);
    for (std::size_t head = 0; head < 4; ++head) {
      const Flexprefill& of = heads[head];
      const bool is_query_aware = of.divergence < tau;
      const std::vector<bool> columns = fewest(of.columns, is_query_aware ? 0 : mass, least, true);
      const std::vector<bool> diagonals =
          fewest(of.diagonals, is_query_aware ? 0 : mass, least, true);
      Row map;
      for (const Row& row : of.pooled) map.insert(map.end(), row.begin(), row.end());
      const std::vector<bool> pooled =
          is_query_aware ? fewest(map, mass, 1, false) : std::vector<bool>(map.size(), false);
      std::size_t at = 0;
      for (std::int64_t row = 0; row < sample.grid.q_blocks(); ++row) {
        const std::int64_t visible = sample.grid.visible_in_row(row);
        for (std::int64_t block = 0; block < sample.grid.kv_blocks(); ++block) {
          const bool kept =
              block < visible &&
              (columns[static_cast<std::size_t>(block)] ||
               diagonals[static_cast<std::size_t>(std::max<std::int64_t>(0, 3 + row - block))] ||
               pooled[at]);
          ASSERT_EQ(mask[static_cast<std::int64_t>(head)][row][block].item<bool>(), kept)
              << head << " " << row << " " << block << " mass " << mass;
          if (block < visible) ++at;
        }
      }
    }
  }
}

// Means of blocks that are all alike are exact; a single key among others is what they hide.
TEST(Flexprefill, MeansServeUniformBlocksAndNotNeedles) {
  const BlockGrid grid = {.q_len = 160, .kv_len = 160, .block_size = kBlock};
  at::manual_seed(6);
  const at::Tensor of_blocks = at::randn({10, 8}).repeat_interleave(kBlock, 0);
  at::Tensor k = at::stack({of_blocks, at::randn({160, 8}) * 0.1}).unsqueeze(0);
  // Not the last block's direction: of that block its queries see a part only.
  at::Tensor q =
      at::stack({of_blocks[3 * kBlock].expand({160, 8}), at::ones({160, 8})}).unsqueeze(0);
  k[0][1][70].fill_(6);
  const at::Tensor is_query_aware = flexprefill_is_query_aware(q, k, grid, 0.1);
  EXPECT_TRUE(is_query_aware[0].item<bool>());
  EXPECT_FALSE(is_query_aware[1].item<bool>());
}

TEST(HeadMethods, TakeHalfPrecision) {
  const Sample sample(131, 147);
  expect_same_in_bfloat16(
      [&](const at::Tensor& q, const at::Tensor& k) {
        return minference_scores(q, k, sample.grid, 20);
      },
      sample, 1e-5);
  // Means of blocks are rounded to the dtype.
  for (const double tau : {0.0, 1.0}) {
    expect_same_in_bfloat16(
        [&](const at::Tensor& q, const at::Tensor& k) {
          return flexprefill_scores(q, k, sample.grid, tau);
        },
        sample, 0.02);
  }
}

TEST(HighestOfHeads, ExactlySoManyAndTiesFromTheEnd) {
  const at::Tensor scores = at::tensor({5.f, 1.f, 1.f, 1.f, 1.f, 7.f}).view({1, 3, 2});
  const auto kept = [&](std::int64_t blocks) {
    return highest_of_heads(scores, blocks).to(at::kInt).flatten();
  };
  EXPECT_TRUE(at::equal(kept(2), at::tensor({1, 0, 0, 0, 0, 1}, at::kInt)));
  EXPECT_TRUE(at::equal(kept(3), at::tensor({1, 0, 0, 0, 1, 1}, at::kInt)));
  EXPECT_TRUE(at::equal(kept(4), at::tensor({1, 0, 1, 0, 1, 1}, at::kInt)));
  EXPECT_TRUE(highest_of_heads(scores, 6).all().item<bool>());
}

}  // namespace
}  // namespace seer
