// Random queries and keys, and what plain loops in double need to say how their blocks score.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "selection/block_scores.h"

namespace seer::test {

inline constexpr std::int64_t kBlock = 16;

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

inline double dot(const Row& a, const Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

inline void softmax(Row& row) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& x : row) sum += x = std::exp(x - top);
  for (double& x : row) x /= sum;
}

inline Row mean_of(const Matrix& rows, std::int64_t first, std::int64_t end) {
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
inline void expect_scores(const at::Tensor& scores, const Sample& sample, double tolerance,
                          bool ends, const Reference& reference) {
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

inline const std::vector<std::pair<std::int64_t, std::int64_t>> kShapes = {
    {1, 1}, {5, 5}, {16, 16}, {17, 17}, {96, 96}, {131, 131}, {50, 98}, {7, 71}, {33, 145}};

// Of half precision: the scores are those of the same numbers in float32.
inline void expect_same_in_bfloat16(
    const std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k)>& scores,
    const Sample& sample, double tolerance) {
  const at::Tensor q = sample.q.to(at::kBFloat16), k = sample.k.to(at::kBFloat16);
  const at::Tensor visible = sample.grid.visible_mask();
  const at::Tensor got = scores(q, k).masked_select(visible);
  EXPECT_EQ(got.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(got, scores(q.to(at::kFloat), k.to(at::kFloat)).masked_select(visible),
                           tolerance, tolerance));
}

}  // namespace seer::test
