#include "distill/gate_optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

namespace seer {

GateOptimizer::GateOptimizer(TrainingState& state, const DistillOptions& options)
    : options_(options), state_(state) {
  const at::NoGradGuard no_grad;
  for (const GateParameter& parameter : state.parameters) {
    values_.push_back(parameter.value);
    state.first_moments.push_back(at::zeros_like(parameter.value));
    state.second_moments.push_back(at::zeros_like(parameter.value));
  }
}

void GateOptimizer::begin_step() {
  forget_gradients();
  is_broken_ = at::Tensor();
}

void GateOptimizer::forget_gradients() {
  for (const at::Tensor& value : values_) value.mutable_grad() = at::Tensor();
}

at::Tensor GateOptimizer::update(std::int64_t number, double learning_rate) {
  const at::NoGradGuard no_grad;
  if (values_.empty()) return {};
  std::vector<at::Tensor> gradients, squares;
  for (const at::Tensor& value : values_)
    gradients.push_back(value.grad().defined() ? value.grad() : at::zeros_like(value));
  for (const at::Tensor& square : at::_foreach_mul(gradients, gradients))
    squares.push_back(square.sum());
  const at::Tensor sums = at::stack(squares);
  // Running sums are added one after the other: the same bits on every run.
  const at::Tensor norm = sums.to(at::kDouble).cumsum(0).select(0, -1).sqrt();
  const at::Tensor is_bad = norm.isfinite().logical_not().to(at::kFloat);
  is_broken_ = is_broken_.defined() ? at::maximum(is_broken_, is_bad) : is_bad;
  if (options_.clip_norm > 0) {
    const at::Tensor factor =
        (at::full({}, options_.clip_norm, norm.options()) / norm).clamp_max(1);
    at::_foreach_mul_(gradients, factor.to(at::kFloat));
  }
  const std::vector<at::Tensor> numbers(
      values_.size(), at::full({}, static_cast<double>(number + 1), sums.options()));
  at::_fused_adamw_(values_, gradients, state_.first_moments, state_.second_moments,
                    /*max_exp_avg_sqs=*/{}, numbers, learning_rate, options_.beta1, options_.beta2,
                    options_.weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                    /*grad_scale=*/std::nullopt, /*found_inf=*/is_broken_);
  return sums;
}

}  // namespace seer
