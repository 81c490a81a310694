#include "distill/distill_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "distill/gate_loss.h"
#include "seer/ops.h"

namespace seer {
namespace {

// Of float64 numbers on one device, which is asked once.
std::vector<double> values_of(const std::vector<at::Tensor>& numbers) {
  if (numbers.empty()) return {};
  const at::Tensor together = at::stack(numbers).cpu();
  const auto* const data = together.const_data_ptr<double>();
  return {data, data + together.numel()};
}

void require_finite(std::size_t layer, double loss) {
  if (std::isfinite(loss)) return;
  throw std::runtime_error(
      fmt::format("layer {}: the gate's loss is {}: the weights of the model or of the gate are "
                  "damaged, or the learning rate is too high",
                  layer, loss));
}

}  // namespace

DistillAttention::DistillAttention(const GateSet& gates, const DistillOptions& options,
                                   double weight)
    : gates_(gates),
      options_(options),
      weight_(weight),
      losses_(static_cast<std::size_t>(gates.num_layers())),
      recalls_(static_cast<std::size_t>(gates.num_layers())) {}

at::Tensor DistillAttention::attend(const AttentionCall& call) {
  TORCH_CHECK(call.past() == 0, "DistillAttention: expected a sequence at once, got ", call.past(),
              " tokens before");
  const auto [out, lse, block_map] = attention_with_block_map(
      call.q, call.k, call.v, gates_.config().block_size, /*is_causal=*/true);
  // The model runs in inference mode, where nothing can be differentiated.
  const c10::InferenceMode normal(false);
  const at::AutoGradMode gradients(true);
  learn(call, block_map);
  return out;
}

void DistillAttention::learn(const AttentionCall& call, const at::Tensor& block_map) {
  const Gate& gate = gates_.layer(call.layer);
  const std::int64_t block_size = gate.config().block_size;
  const BlockGrid whole{.q_len = call.q_len(), .kv_len = call.kv_len(), .block_size = block_size};
  const auto first_row =
      static_cast<std::int64_t>(options_.row_slice * static_cast<double>(whole.q_blocks()));
  const std::int64_t first = first_row * block_size;
  const BlockGrid grid{
      .q_len = whole.q_len - first, .kv_len = whole.kv_len, .block_size = block_size};

  at::Tensor rows = block_map.narrow(2, first_row, whole.q_blocks() - first_row);
  if (options_.target_power != 1) rows = rows.pow(options_.target_power);
  const at::Tensor target = rows / rows.sum(-1, /*keepdim=*/true).clamp_min(1e-30);
  const at::Tensor logits = gate.block_logits(
      gate.query_representatives(call.q_before_rope.narrow(2, first, grid.q_len), first),
      gate.key_representatives(call.k_before_rope, 0), grid.q_len, grid.kv_len);
  const at::Tensor loss = gate_loss(logits, target, options_.loss);

  const auto layer = static_cast<std::size_t>(call.layer);
  losses_.at(layer) = loss.detach().to(at::kDouble);
  // Asking a GPU would wait for it: losses() looks there.
  if (loss.is_cpu()) require_finite(layer, loss.item<double>());
  (loss * weight_).backward();
  recalls_.at(layer) = gate_recall(logits.detach(), target, grid, options_.recall_ratio);
}

std::vector<double> DistillAttention::losses() const {
  std::vector<double> losses = values_of(losses_);
  for (std::size_t layer = 0; layer < losses.size(); ++layer) require_finite(layer, losses[layer]);
  return losses;
}

std::vector<double> DistillAttention::recalls() const {
  return values_of(recalls_);
}

}  // namespace seer
