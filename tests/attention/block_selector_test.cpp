// Scores without a map, and how rules of a whole prompt apply to its chunks.
#include "selection/block_selector.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "selection/block_scores.h"

namespace seer {
namespace {

constexpr std::int64_t kBlock = 16;

BlockGrid grid(std::int64_t q_len, std::int64_t kv_len) {
  return {.q_len = q_len, .kv_len = kv_len, .block_size = kBlock};
}

// Whether any query of the row sees a key of the block, token by token.
bool sees(const BlockGrid& grid, std::int64_t row, std::int64_t block) {
  for (std::int64_t q = row * kBlock; q < std::min((row + 1) * kBlock, grid.q_len); ++q) {
    if (block * kBlock <= q + grid.past()) return true;
  }
  return false;
}

TEST(BlockGrid, CountsWhatTokensSee) {
  for (const auto& [q_len, kv_len] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {16, 16}, {17, 17}, {100, 100}, {1, 40}, {20, 53}, {33, 64}, {5, 37}}) {
    const BlockGrid at = grid(q_len, kv_len);
    const at::Tensor mask = at.visible_mask();
    const at::Tensor ends = at.ends_mask(2, 1);
    std::int64_t visible = 0;
    for (std::int64_t row = 0; row < at.q_blocks(); ++row) {
      std::int64_t in_row = 0, last = -1;
      for (std::int64_t block = 0; block < at.kv_blocks(); ++block) {
        ASSERT_EQ(mask[row][block].item<bool>(), sees(at, row, block)) << q_len << " " << kv_len;
        if (sees(at, row, block)) last = block, ++in_row;
      }
      for (std::int64_t block = 0; block < at.kv_blocks(); ++block) {
        ASSERT_EQ(ends[row][block].item<bool>(), block <= last && (block < 2 || block == last));
      }
      ASSERT_EQ(at.visible_in_row(row), in_row);
      visible += in_row;
    }
    EXPECT_EQ(at.visible(), visible);
  }
}

TEST(RandomScores, DependOnPlacesAndNotOnChunks) {
  const at::Tensor whole = random_scores(grid(96, 96), 7, 3, 2);
  const at::Tensor chunk = random_scores(grid(32, 96), 7, 3, 2);
  EXPECT_TRUE(at::equal(whole.narrow(2, 4, 2), chunk));
  EXPECT_FALSE(at::equal(whole, random_scores(grid(96, 96), 8, 3, 2)));
  EXPECT_FALSE(at::equal(whole, random_scores(grid(96, 96), 7, 4, 2)));
  EXPECT_FALSE(at::equal(whole.select(1, 0), whole.select(1, 1)));
  const at::Tensor many = random_scores(grid(1600, 1600), 1, 0, 4);
  EXPECT_NEAR(many.mean().item<double>(), 0.5, 0.01);
  EXPECT_GE(many.min().item<double>(), 0.0);
  EXPECT_LT(many.max().item<double>(), 1.0);
}

TEST(BlockSelector, StreamingKeepsTheFirstAndTheLastBlocks) {
  const BlockGrid at = grid(160, 160);
  const BlockSelector selector(SelectionPolicy::parse("streaming:budget=48"), nullptr);
  const at::Tensor mask = selector.select(streaming_scores(at), at, 160, 0)[0][0];
  for (std::int64_t row = 0; row < 10; ++row) {
    for (std::int64_t block = 0; block < 10; ++block) {
      const bool kept = block <= row && (block == 0 || block > row - 2);
      EXPECT_EQ(mask[row][block].item<bool>(), kept) << row << " " << block;
    }
  }
}

TEST(BlockSelector, RatioAndDenseRowsAreThoseOfThePrompt) {
  constexpr std::int64_t kLength = 320;
  for (const char* text : {"random:ratio=0.3", "random:ratio=0.3,dense_rows=3,sink=1,local=2",
                           "random:density=0.4", "random:budget=64,dense_rows=30"}) {
    const BlockSelector selector(SelectionPolicy::parse(text), nullptr);
    const BlockGrid whole = grid(kLength, kLength);
    const at::Tensor at_once = selector.select(random_scores(whole, 1, 0, 2), whole, kLength, 0);
    for (const std::int64_t chunk : {16, 48, 128}) {
      for (std::int64_t first = 0; first < kLength; first += chunk) {
        const std::int64_t length = std::min(chunk, kLength - first);
        const BlockGrid part = grid(length, first + length);
        const at::Tensor mask = selector.select(random_scores(part, 1, 0, 2), part, kLength, 0);
        EXPECT_TRUE(at::equal(
            mask,
            at_once.narrow(2, first / kBlock, part.q_blocks()).narrow(3, 0, part.kv_blocks())))
            << text << " chunk " << chunk << " at " << first;
      }
    }
  }
}

TEST(BlockSelector, DensityOfAMapIsWhatWasAsked) {
  at::manual_seed(1);
  const BlockGrid at = grid(640, 640);
  const at::Tensor scores = at::softmax(at::randn({1, 3, 40, 40}) * 3, -1);
  for (const double density : {0.15, 0.3, 0.7}) {
    const BlockSelector selector(
        SelectionPolicy::parse("oracle:density=" + std::to_string(density)), nullptr);
    const at::Tensor mask = selector.select(scores, at, 640, 0);
    EXPECT_NEAR(mask.sum().item<double>() / static_cast<double>(3 * at.visible()), density, 1e-3);
    EXPECT_TRUE((mask | at.ends_mask(1, 1).logical_not()).all().item<bool>());
  }
  const BlockSelector all(SelectionPolicy::parse("meanpool:density=1"), nullptr);
  EXPECT_TRUE(at::equal(all.select(scores, at, 640, 0)[0][0], at.visible_mask()));
}

TEST(BlockSelector, GateDensityTakesTheThresholdOfTheLength) {
  CalibrationTable table;
  table.rows = {{.length = 320, .density = 0.25, .thresholds = {0.05}},
                {.length = 320, .density = 0.5, .thresholds = {0.02}},
                {.length = 640, .density = 0.25, .thresholds = {0.025}},
                {.length = 640, .density = 0.5, .thresholds = {0.01}}};
  at::manual_seed(2);
  const at::Tensor scores = at::softmax(at::randn({1, 2, 20, 20}) * 2, -1);
  const BlockGrid at = grid(320, 320);
  const BlockSelector selector(SelectionPolicy::parse("gate:density=0.25"), &table);
  const at::Tensor visible = at.visible_mask();
  const auto expected = [&](double threshold) {
    return ((scores > threshold) | at.ends_mask(1, 1)) & visible;
  };
  EXPECT_TRUE(at::equal(selector.select(scores, at, 320, 0), expected(0.05)));
  EXPECT_TRUE(at::equal(selector.select(scores, at, 640, 0), expected(0.025)));
  EXPECT_THROW(selector.select(scores, at, 100000, 0), std::invalid_argument);
}

TEST(BlockSelector, RefusesWhatASourceCannotServe) {
  const auto message = [](const char* text, const CalibrationTable* table) -> std::string {
    try {
      const BlockSelector selector(SelectionPolicy::parse(text), table);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message("streaming:mass=0.9", nullptr).find("no probabilities"), std::string::npos);
  EXPECT_NE(message("random:threshold=0.1", nullptr).find("no probabilities"), std::string::npos);
  EXPECT_NE(message("gate:density=0.1", nullptr).find("seer calibrate"), std::string::npos);
  const CalibrationTable empty;
  EXPECT_NE(message("gate:density=0.1", &empty).find("no calibration table"), std::string::npos);
  EXPECT_EQ(message("gate:density=1", &empty), "");
}

}  // namespace
}  // namespace seer
