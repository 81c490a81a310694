#include "training/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/stack.h>
#include <c10/util/Exception.h>

#include <utility>

namespace seer {

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options)
    : groups_(std::move(groups)), options_(options) {}

at::Tensor squares_of(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  if (tensors.empty()) return {};
  return at::stack(at::_foreach_norm(tensors, 2)).to(at::kDouble).square();
}

at::Tensor AdamW::update(const std::vector<at::Tensor>& gradients, std::int64_t number,
                         double learning_rate) {
  at::Tensor squares = squares_of(gradients);
  update(gradients, squares, number, learning_rate);
  return squares;
}

void AdamW::update(const std::vector<at::Tensor>& gradients, const at::Tensor& squares,
                   std::int64_t number, double learning_rate) {
  const at::NoGradGuard no_grad;
  if (gradients.empty()) return;
  // Running sums are added one after the other: the same bits on every run.
  const at::Tensor norm = squares.cumsum(0).select(0, -1).sqrt();
  const at::Tensor is_bad = norm.isfinite().logical_not().to(at::kFloat);
  is_broken_ = is_broken_.defined() ? at::maximum(is_broken_, is_bad) : is_bad;
  if (options_.clip_norm > 0) {
    const at::Tensor factor =
        (at::full({}, options_.clip_norm, norm.options()) / norm).clamp_max(1);
    at::_foreach_mul_(gradients, factor.to(at::kFloat));
  }
  const at::Tensor count = at::full({}, static_cast<double>(number + 1), is_bad.options());
  auto gradient = gradients.begin();
  for (const ParameterGroup& group : groups_) {
    if (group.tensors.empty()) continue;
    std::vector<at::Tensor> values, own_gradients, first, second;
    for (const TrainedTensor& tensor : group.tensors) {
      values.push_back(tensor.value);
      own_gradients.push_back(*gradient++);
      first.push_back(tensor.first_moment);
      second.push_back(tensor.second_moment);
    }
    const std::vector<at::Tensor> numbers(values.size(), count);
    at::_fused_adamw_(values, own_gradients, first, second, /*max_exp_avg_sqs=*/{}, numbers,
                      learning_rate, options_.beta1, options_.beta2, group.weight_decay,
                      options_.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                      /*grad_scale=*/std::nullopt, /*found_inf=*/is_broken_);
    // The fused operator does not count its change, by which copies of a weight know that they are old.
    for (const at::Tensor& value : values) value.unsafeGetTensorImpl()->bump_version();
  }
  TORCH_CHECK(gradient == gradients.end(), "AdamW: expected a gradient for each tensor, got ",
              gradients.size());
}

}  // namespace seer
