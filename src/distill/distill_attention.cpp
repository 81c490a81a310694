#include "distill/distill_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "seer/ops.h"
#include "training/gate_loss.h"

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
                                   double weight, DistillPass pass)
    : gates_(gates), options_(options), weight_(weight), pass_(pass) {
  if (!pass_.learn) return;
  losses_.resize(static_cast<std::size_t>(gates.num_layers()));
  recalls_.resize(losses_.size());
}

at::Tensor DistillAttention::attend(const AttentionCall& call) {
  TORCH_CHECK(call.past() == 0, "DistillAttention: expected a sequence at once, got ", call.past(),
              " tokens before");
  const Gate& gate = gates_.layer(call.layer);
  const auto [out, lse, block_map] = attention_with_block_map(
      call.q, call.k, call.v, gate.config().block_size, /*is_causal=*/true);
  // The model runs in inference mode, where nothing can be differentiated.
  const c10::InferenceMode normal(false);
  const at::AutoGradMode gradients(true);
  const GateExample example = gate_example(gate, call, block_map, options_.gate_loss());
  if (pass_.learn) learn(call.layer, example);
  if (pass_.keep) examples_.push_back(example.kept());
  return out;
}

void DistillAttention::learn(std::int64_t layer, const GateExample& example) {
  const GatePrediction prediction = predict(gates_.layer(layer), example, options_.gate_loss());
  const at::Tensor& loss = prediction.loss;
  const auto index = static_cast<std::size_t>(layer);
  losses_.at(index) = loss.detach().to(at::kDouble);
  // Asking a GPU would wait for it: losses() looks there.
  if (loss.is_cpu()) require_finite(index, loss.item<double>());
  (loss * weight_).backward();
  recalls_.at(index) = gate_recall(prediction.logits.detach(), prediction.target, example.grid,
                                   options_.recall_ratio);
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
