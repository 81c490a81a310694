// Frequencies and factors as transformers 5.23 computes them (LlamaRotaryEmbedding), float32.
#include "seer/rope.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace seer {
namespace {

struct Case {
  const char* name;
  std::int64_t head_dim;
  RopeConfig config;
  double attention_scale;
  std::vector<std::pair<std::int64_t, float>> inv_freq;  // (index, value)
  float cos_4097, sin_4097;                              // of frequency 1 at position 4,097
};

const std::vector<Case>& cases() {
  static const std::vector<Case> list = {
      {"default",
       64,
       {.kind = RopeKind::kDefault, .theta = 500000.0},
       1.0,
       {{0, 1.0F}, {1, 0.663601279258728F}, {8, 0.03760603070259094F}, {31, 3.01385807688348e-06F}},
       -0.2706109583377838F,
       -0.9626888036727905F},
      {"linear",
       64,
       {.kind = RopeKind::kLinear, .theta = 10000.0, .factor = 4.0},
       1.0,
       {{0, 0.25F}, {1, 0.18747355043888092F}, {10, 0.014058532193303108F}},
       0.040230344980955124F,
       0.9991904497146606F},
      {"llama3",
       128,
       {.kind = RopeKind::kLlama3,
        .theta = 500000.0,
        .factor = 8.0,
        .low_freq_factor = 1.0,
        .high_freq_factor = 4.0,
        .original_max_positions = 8192},
       1.0,
       {{1, 0.8146172165870667F},
        {21, 0.013490419834852219F},
        {32, 0.0005248460220173001F},
        {59, 6.969025321268418e-07F},
        {63, 3.068925877869333e-07F}},
       0.4398018717765808F,
       0.8980948328971863F},
      {"yarn",
       64,
       {.kind = RopeKind::kYarn, .theta = 10000.0, .factor = 4.0, .original_max_positions = 256},
       1.138629436111989,
       {{1, 0.706631064414978F}, {8, 0.053846150636672974F}, {16, 0.0024999999441206455F}},
       0.10205772519111633F,
       -1.1340464353561401F},
      {"yarn, range not truncated",
       80,
       {.kind = RopeKind::kYarn,
        .theta = 1000000.0,
        .factor = 8.0,
        .original_max_positions = 4096,
        .beta_fast = 16.0,
        .beta_slow = 2.0,
        .truncate = false},
       1.2079441541679836,
       {{1, 0.7079457640647888F}, {13, 0.00752463610842824F}, {20, 0.0001250000059371814F}},
       -0.8723609447479248F,
       -0.8355330228805542F},
      {"yarn, mscale",
       64,
       {.kind = RopeKind::kYarn,
        .theta = 10000.0,
        .factor = 40.0,
        .original_max_positions = 4096,
        .mscale = 1.0,
        .mscale_all_dim = 0.8},
       1.0569662567531275,
       {{10, 0.05623412877321243F}, {16, 0.005500000435858965F}, {27, 1.0542412383074407e-05F}},
       1.0433030128479004F,
       -0.1694006621837616F},
      {"yarn, attention factor",
       64,
       {.kind = RopeKind::kYarn,
        .theta = 10000.0,
        .factor = 2.0,
        .original_max_positions = 64,
        .attention_factor = 1.25},
       1.25,
       {{1, 0.7082334160804749F}, {10, 0.028117064386606216F}, {31, 6.667607522103935e-05F}},
       0.4537769556045532F,
       -1.16472589969635F},
  };
  return list;
}

TEST(Rope, FrequenciesAreTransformers) {
  for (const Case& expected : cases()) {
    SCOPED_TRACE(expected.name);
    const Rope rope = make_rope(expected.config, expected.head_dim);
    EXPECT_DOUBLE_EQ(rope.attention_scale, expected.attention_scale);
    ASSERT_EQ(rope.inv_freq.sizes(), at::IntArrayRef({expected.head_dim / 2}));
    for (const auto& [index, value] : expected.inv_freq) {
      EXPECT_FLOAT_EQ(rope.inv_freq[index].item<float>(), value) << "frequency " << index;
    }
  }
}

TEST(Rope, TableIsTransformers) {
  for (const Case& expected : cases()) {
    SCOPED_TRACE(expected.name);
    const RopeTable table = rope_table(make_rope(expected.config, expected.head_dim), 4096, 3);
    ASSERT_EQ(table.cos.sizes(), at::IntArrayRef({3, expected.head_dim / 2}));
    // One unit in the last place of the angle, which is up to 4,097.
    EXPECT_NEAR(table.cos[1][1].item<float>(), expected.cos_4097, 5e-4);
    EXPECT_NEAR(table.sin[1][1].item<float>(), expected.sin_4097, 5e-4);
  }
}

TEST(Rope, TurnsPairsHalfAHeadApart) {
  const Rope rope = make_rope({.kind = RopeKind::kDefault, .theta = 10000.0}, 8);
  const RopeTable table = rope_table(rope, 5, 3);
  const at::Tensor x = at::randn({3, 2, 8});
  const at::Tensor out = at::empty({2, 3, 8}).transpose(0, 1);
  apply_rope(x, table, out);
  for (std::int64_t row = 0; row < 3; ++row) {
    for (std::int64_t head = 0; head < 2; ++head) {
      for (std::int64_t j = 0; j < 4; ++j) {
        const double cos = table.cos[row][j].item<float>(), sin = table.sin[row][j].item<float>();
        const double a = x[row][head][j].item<float>(), b = x[row][head][j + 4].item<float>();
        EXPECT_NEAR(out[row][head][j].item<float>(), a * cos - b * sin, 1e-6);
        EXPECT_NEAR(out[row][head][j + 4].item<float>(), b * cos + a * sin, 1e-6);
      }
    }
  }
}

TEST(Rope, PositionZeroTurnsNothing) {
  const RopeTable table = rope_table(make_rope({.theta = 10000.0}, 16), 0, 1);
  const at::Tensor x = at::randn({1, 1, 16});
  const at::Tensor out = at::empty_like(x);
  apply_rope(x, table, out);
  EXPECT_TRUE(out.equal(x));
}

}  // namespace
}  // namespace seer
