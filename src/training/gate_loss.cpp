#include "training/gate_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/smooth_l1_loss.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/xlogy.h>

#include <stdexcept>
#include <string>

#include "base/selection_policy.h"
#include "seer/ops.h"

namespace seer {

DistillLoss parse_distill_loss(std::string_view name) {
  for (const DistillLoss loss : {DistillLoss::kKl, DistillLoss::kMse, DistillLoss::kSmoothL1}) {
    if (name == distill_loss_name(loss)) return loss;
  }
  throw std::invalid_argument("loss '" + std::string(name) + "': expected kl, mse or smooth-l1");
}

std::string_view distill_loss_name(DistillLoss loss) {
  switch (loss) {
    case DistillLoss::kKl: return "kl";
    case DistillLoss::kMse: return "mse";
    case DistillLoss::kSmoothL1: return "smooth-l1";
  }
  return "unknown";
}

at::Tensor gate_loss(const at::Tensor& logits, const at::Tensor& target, DistillLoss loss) {
  switch (loss) {
    case DistillLoss::kKl: {
      // Where nothing is visible log P is -inf and T is 0: such entries are no part of the sum, and give no gradient.
      const at::Tensor log_p = at::log_softmax(logits, -1).masked_fill(logits.isinf(), 0.0);
      return (at::xlogy(target, target) - target * log_p).mean();
    }
    case DistillLoss::kMse: return at::mse_loss(at::softmax(logits, -1), target);
    case DistillLoss::kSmoothL1: return at::smooth_l1_loss(at::softmax(logits, -1), target);
  }
  throw std::logic_error("gate_loss: unknown loss");
}

at::Tensor gate_recall(const at::Tensor& logits, const at::Tensor& target, const BlockGrid& grid,
                       double ratio) {
  const std::int64_t budget = blocks_of_ratio(ratio, grid.kv_blocks()) * grid.block_size;
  const SelectionPolicy policy{
      .source = PolicySource::kGate, .rule = PolicyRule::kBudget, .budget = budget};
  const at::Tensor mask =
      select_blocks(logits, policy.to_string(), grid.q_len, grid.kv_len, grid.block_size);
  const at::Tensor total = target.sum().to(at::kDouble);
  const at::Tensor kept = (target * mask).sum().to(at::kDouble);
  return at::where(total > 0, kept / total, at::ones_like(total));
}

}  // namespace seer
