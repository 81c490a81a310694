#include "support/pairwise.h"

#include <random>
#include <set>
#include <utility>

namespace seer::test {
namespace {

using Choice = std::pair<std::size_t, std::size_t>;  // axis, index on it
using Pairs = std::set<std::pair<Choice, Choice>>;
using Row = std::vector<std::size_t>;

constexpr int kCandidates = 40;

Pairs all_pairs(const std::vector<std::size_t>& axis_sizes) {
  Pairs pairs;
  for (std::size_t a = 0; a < axis_sizes.size(); ++a) {
    for (std::size_t b = a + 1; b < axis_sizes.size(); ++b) {
      for (std::size_t i = 0; i < axis_sizes[a]; ++i) {
        for (std::size_t j = 0; j < axis_sizes[b]; ++j) pairs.insert({{a, i}, {b, j}});
      }
    }
  }
  return pairs;
}

Pairs pairs_of(const Row& row, const Pairs& wanted) {
  Pairs found;
  for (std::size_t a = 0; a < row.size(); ++a) {
    for (std::size_t b = a + 1; b < row.size(); ++b) {
      const std::pair<Choice, Choice> pair{{a, row[a]}, {b, row[b]}};
      if (wanted.contains(pair)) found.insert(pair);
    }
  }
  return found;
}

}  // namespace

std::vector<Row> pairwise_rows(const std::vector<std::size_t>& axis_sizes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Pairs missing = all_pairs(axis_sizes);
  std::vector<Row> rows;
  while (!missing.empty()) {
    // Greedy: start each candidate at a missing pair, fill in at random, keep the most useful one.
    const auto [first, second] = *missing.begin();
    Row best;
    Pairs best_pairs;
    for (int candidate = 0; candidate < kCandidates; ++candidate) {
      Row row(axis_sizes.size());
      for (std::size_t axis = 0; axis < row.size(); ++axis) row[axis] = random() % axis_sizes[axis];
      row[first.first] = first.second;
      row[second.first] = second.second;
      Pairs found = pairs_of(row, missing);
      if (found.size() > best_pairs.size()) {
        best = std::move(row);
        best_pairs = std::move(found);
      }
    }
    for (const auto& pair : best_pairs) missing.erase(pair);
    rows.push_back(std::move(best));
  }
  return rows;
}

}  // namespace seer::test
