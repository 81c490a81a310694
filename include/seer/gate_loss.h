// What a gate learns from: how its predicted map is held against the teacher's.
#pragma once

#include <string_view>

namespace seer {

// What is compared with the teacher: the block map (the maximum probability in each block), raised to
// GateLossOptions::target_power, with rows divided by their sums: T. P is the softmax of the gate's logits along each row.
//   kKl        sum of T (log T - log P), divided by the number of entries (the published loss)
//   kMse       mean of (P - T)^2
//   kSmoothL1  mean of Huber's loss of P - T with its corner at 1
// Entries are all heads, rows and columns of the map, those included that are never visible.
enum class DistillLoss { kKl, kMse, kSmoothL1 };
DistillLoss parse_distill_loss(
    std::string_view name);  // "kl", "mse", "smooth-l1"; throws std::invalid_argument
std::string_view distill_loss_name(DistillLoss loss);

struct GateLossOptions {
  DistillLoss loss = DistillLoss::kKl;
  // 1: the published target. Above, the teacher's peaks count more, and with them what a question has to find.
  double target_power = 1.3;
  double row_slice = 0.25;  // the first rows of a map that are left out: int(row_slice * rows)
};

}  // namespace seer
