#include "finetune/token_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace seer {
namespace {

constexpr std::int64_t kRowsAtOnce = 2048;

// Of the rows from `first` on: adds to `sum` and returns the log probabilities, float32 [count, vocab].
at::Tensor log_probabilities(const at::Tensor& rows, const at::Tensor& output,
                             const Targets& targets, std::int64_t first, const at::Tensor& sum) {
  const std::int64_t count = rows.size(0);
  at::Tensor log_p = at::log_softmax(at::mm(rows, output.t()), -1, at::kFloat);
  const at::Tensor of_target =
      log_p.gather(1, targets.tokens.narrow(0, first, count).unsqueeze(1)).squeeze(1);
  sum.sub_((of_target * targets.counts.narrow(0, first, count)).sum().to(at::kDouble));
  return log_p;
}

}  // namespace

Targets next_tokens(const at::Tensor& tokens) {
  const at::Tensor next = tokens.roll(-1, 1);
  const at::Tensor counts = at::ones(tokens.sizes(), tokens.options().dtype(at::kFloat));
  counts.select(1, -1).zero_();
  return {.tokens = next.reshape({-1}), .counts = counts.view({-1})};
}

at::Tensor token_loss(const at::Tensor& hidden, const at::Tensor& output, const Targets& targets) {
  const at::NoGradGuard no_grad;
  const at::Tensor sum = at::zeros({}, hidden.options().dtype(at::kDouble));
  for (std::int64_t first = 0; first < hidden.size(0); first += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, hidden.size(0) - first);
    log_probabilities(hidden.narrow(0, first, count), output, targets, first, sum);
  }
  return sum;
}

at::Tensor learn_tokens(const at::Tensor& hidden, const TrainedWeight& output,
                        const Targets& targets, double scale, const at::Tensor& grad_hidden) {
  const at::NoGradGuard no_grad;
  const at::Tensor sum = at::zeros({}, hidden.options().dtype(at::kDouble));
  for (std::int64_t first = 0; first < hidden.size(0); first += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, hidden.size(0) - first);
    const at::Tensor rows = hidden.narrow(0, first, count);
    const at::Tensor log_p = log_probabilities(rows, output.value, targets, first, sum);
    // p, less 1 at the target
    const at::Tensor gradient = log_p.exp_();
    gradient.scatter_add_(1, targets.tokens.narrow(0, first, count).unsqueeze(1),
                          at::full({count, 1}, -1.0, gradient.options()));
    gradient.mul_((targets.counts.narrow(0, first, count) * scale).unsqueeze(1));
    const at::Tensor rounded = gradient.to(hidden.scalar_type());
    at::Tensor out = grad_hidden.narrow(0, first, count);
    at::mm_out(out, rounded, output.value);
    output.gradient.add_(at::mm(rounded.t(), rows));
  }
  return sum;
}

}  // namespace seer
