// Methods without training: planted needles, lines and blocks, and plain loops in double on random input.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "selection/block_selector.h"
#include "selection/flexprefill.h"
#include "selection/head_selection.h"
#include "selection/line_scores.h"
#include "selection/minference.h"
#include "selection/quest.h"
#include "selection/xattention.h"

namespace seer {
namespace {

constexpr std::int64_t kBlock = 16;

using Row = std::vector<double>;
using Matrix = std::vector<Row>;

// Queries and keys with their grid, and one head of them in double.
struct Sample {
  at::Tensor q, k;
  BlockGrid grid;

  Sample(std::int64_t q_len, std::int64_t kv_len, std::int64_t heads = 4, std::int64_t kv_heads = 2,
         std::int64_t d = 8)
      : grid{.q_len = q_len, .kv_len = kv_len, .block_size = kBlock} {
    at::manual_seed(100 * q_len + kv_len);
    q = at::randn({1, heads, q_len, d}) * 2;
    // As a cache's: longer than what is valid.
    k = at::randn({1, kv_heads, kv_len + 5, d}).narrow(2, 0, kv_len);
  }
  std::int64_t heads() const { return q.size(1); }
  std::int64_t kv_head(std::int64_t head) const { return head / (q.size(1) / k.size(1)); }
  static Matrix rows_of(const at::Tensor& x) {
    const at::Tensor values = x.to(at::kDouble).contiguous();
    Matrix rows;
    for (std::int64_t i = 0; i < values.size(0); ++i) {
      const double* data = values.const_data_ptr<double>() + i * values.size(1);
      rows.emplace_back(data, data + values.size(1));
    }
    return rows;
  }
  Matrix queries(std::int64_t head) const { return rows_of(q[0][head]); }
  Matrix keys(std::int64_t head) const { return rows_of(k[0][kv_head(head)]); }
  double scale() const { return 1 / std::sqrt(static_cast<double>(q.size(3))); }
};

double dot(const Row& a, const Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

void softmax(Row& row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& x : row) sum += x = std::exp(x - top);
  for (double& x : row) x /= sum;
}

Row mean_of(const Matrix& rows, std::int64_t first, std::int64_t end) {
  Row mean(rows.front().size(), 0.0);
  for (std::int64_t i = first; i < end; ++i) {
    for (std::size_t j = 0; j < mean.size(); ++j) {
      mean[j] += rows[static_cast<std::size_t>(i)][j] / static_cast<double>(end - first);
    }
  }
  return mean;
}

using Reference = std::function<double(std::int64_t head, std::int64_t row, std::int64_t block)>;

// Of all visible blocks; infinity where the first and the last ones are always kept.
void expect_scores(const at::Tensor& scores, const Sample& sample, double tolerance, bool ends,
                   const Reference& reference) {
  ASSERT_EQ(scores.sizes(), (std::vector<std::int64_t>{1, sample.heads(), sample.grid.q_blocks(),
                                                       sample.grid.kv_blocks()}));
  ASSERT_EQ(scores.scalar_type(), at::kFloat);
  for (std::int64_t head = 0; head < sample.heads(); ++head) {
    for (std::int64_t row = 0; row < sample.grid.q_blocks(); ++row) {
      const std::int64_t visible = sample.grid.visible_in_row(row);
      for (std::int64_t block = 0; block < visible; ++block) {
        const auto score = scores[0][head][row][block].item<double>();
        if (ends && (block == 0 || block == visible - 1)) {
          ASSERT_EQ(score, std::numeric_limits<double>::infinity());
        } else {
          ASSERT_NEAR(score, reference(head, row, block), tolerance)
              << "head " << head << " row " << row << " block " << block << ", "
              << sample.grid.q_len << " of " << sample.grid.kv_len;
        }
      }
    }
  }
}

const std::vector<std::pair<std::int64_t, std::int64_t>> kShapes = {
    {1, 1}, {5, 5}, {16, 16}, {17, 17}, {96, 96}, {131, 131}, {50, 98}, {7, 71}, {33, 145}};

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
    Sample sample(q_len, kv_len);
    const auto reference = [&](auto head, auto row, auto block) {
      return quest_reference(sample, head, row, block);
    };
    expect_scores(quest_scores(sample.q, sample.k, sample.grid), sample, 1e-5, false, reference);
    sample.q = sample.q.to(at::kBFloat16);
    sample.k = sample.k.to(at::kBFloat16);
    expect_scores(quest_scores(sample.q, sample.k, sample.grid), sample, 1e-5, false, reference);
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
  const at::Tensor places = at::randn({kLength, 32});
  at::Tensor k = places.clone(), q = at::zeros({kLength, 32});
  q.narrow(0, kDistance, kLength - kDistance).copy_(places.narrow(0, 0, kLength - kDistance) * 2);
  q += at::ones({32}) * 3;
  k[kColumn].copy_(at::ones({32}) * 3);
  const BlockGrid grid = {.q_len = kLength, .kv_len = kLength, .block_size = kBlock};
  // Per row: the first block, the last, the column's, and two of the diagonal, which no multiple of a block divides.
  const BlockSelector selector(SelectionPolicy::parse("minference:budget=80"), nullptr);
  const at::Tensor scores =
      minference_scores(q.view({1, 1, kLength, 32}), k.view({1, 1, kLength, 32}), grid, 64);
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
  at::Tensor q = at::stack({of_blocks, at::ones({160, 8})}).unsqueeze(0);
  k[0][1][70].fill_(6);
  const at::Tensor is_query_aware = flexprefill_is_query_aware(q, k, grid, 0.1);
  EXPECT_TRUE(is_query_aware[0].item<bool>());
  EXPECT_FALSE(is_query_aware[1].item<bool>());
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
