// Losses and recall against their formulas, entry by entry.
#include "training/gate_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace seer {
namespace {

constexpr std::int64_t kHeads = 2, kRows = 6, kBlocks = 6;

struct Maps {
  at::Tensor logits, target;
};

// Causal maps of 6 x 6 blocks; the target's rows sum to 1, with zeros among them.
Maps random_maps() {
  at::manual_seed(5);
  const at::Tensor visible = at::ones({kRows, kBlocks}, at::kBool).tril();
  Maps maps;
  maps.logits = at::randn({1, kHeads, kRows, kBlocks})
                    .masked_fill(visible.logical_not(), -std::numeric_limits<float>::infinity());
  at::Tensor target = at::rand({1, kHeads, kRows, kBlocks}) * visible;
  target.masked_fill_(target < 0.2, 0.0);
  target.diagonal(0, 2, 3).fill_(0.5);
  maps.target = target / target.sum(-1, true);
  return maps;
}

double expected_loss(const Maps& maps, DistillLoss kind) {
  double sum = 0;
  for (std::int64_t head = 0; head < kHeads; ++head) {
    for (std::int64_t row = 0; row < kRows; ++row) {
      double normaliser = 0;
      for (std::int64_t j = 0; j <= row; ++j)
        normaliser += std::exp(maps.logits[0][head][row][j].item<double>());
      for (std::int64_t j = 0; j <= row; ++j) {
        const double p = std::exp(maps.logits[0][head][row][j].item<double>()) / normaliser;
        const double t = maps.target[0][head][row][j].item<double>();
        const double d = std::abs(p - t);
        if (kind == DistillLoss::kKl) sum += t > 0 ? t * (std::log(t) - std::log(p)) : 0;
        if (kind == DistillLoss::kMse) sum += d * d;
        if (kind == DistillLoss::kSmoothL1) sum += d < 1 ? 0.5 * d * d : d - 0.5;
      }
    }
  }
  return sum / static_cast<double>(kHeads * kRows * kBlocks);
}

TEST(GateLoss, MatchesItsFormula) {
  const Maps maps = random_maps();
  for (const DistillLoss kind : {DistillLoss::kKl, DistillLoss::kMse, DistillLoss::kSmoothL1}) {
    EXPECT_NEAR(gate_loss(maps.logits, maps.target, kind).item<double>(), expected_loss(maps, kind),
                1e-7)
        << distill_loss_name(kind);
    EXPECT_EQ(parse_distill_loss(distill_loss_name(kind)), kind);
  }
  EXPECT_THROW(parse_distill_loss("l2"), std::invalid_argument);
}

TEST(GateLoss, KlIsZeroAtTheTargetAndItsGradientIsPMinusT) {
  const Maps maps = random_maps();
  const at::Tensor right = maps.target.log();
  EXPECT_NEAR(gate_loss(right, maps.target, DistillLoss::kKl).item<double>(), 0.0, 1e-8);

  const at::Tensor logits = maps.logits.clone().requires_grad_();
  gate_loss(logits, maps.target, DistillLoss::kKl).backward();
  const at::Tensor expected =
      (at::softmax(maps.logits, -1) - maps.target) / static_cast<double>(kHeads * kRows * kBlocks);
  EXPECT_TRUE(at::allclose(logits.grad(), expected, 1e-5, 1e-8));
}

TEST(GateRecall, IsTheMassOfTheBestBlocks) {
  const Maps maps = random_maps();
  const BlockGrid grid{.q_len = kRows * 16, .kv_len = kBlocks * 16, .block_size = 16};
  EXPECT_NEAR(gate_recall(maps.logits, maps.target, grid, 1.0).item<double>(), 1.0, 1e-6);
  // ratio 0.56: 1 - sqrt(0.44) = 0.337, 2 of 6 blocks a row.
  double kept = 0;
  for (std::int64_t head = 0; head < kHeads; ++head) {
    for (std::int64_t row = 0; row < kRows; ++row) {
      const at::Tensor best = std::get<1>(maps.logits[0][head][row].topk(2));
      for (std::int64_t i = 0; i < 2; ++i)
        kept += maps.target[0][head][row][best[i].item<std::int64_t>()].item<double>();
    }
  }
  EXPECT_NEAR(gate_recall(maps.logits, maps.target, grid, 0.56).item<double>(),
              kept / (kHeads * kRows), 1e-6);
}

}  // namespace
}  // namespace seer
