// AdamW against its formula in double, and what it must leave alone.
#include "training/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "training/schedule.h"

namespace seer {
namespace {

TEST(AdamW, IsItsFormula) {
  const AdamWOptions options{.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .clip_norm = 1.5};
  at::manual_seed(1);
  std::vector<ParameterGroup> groups = {
      {.tensors = {trained_tensor("a", at::randn({3, 5}))}, .weight_decay = 0.1},
      {.tensors = {trained_tensor("b", at::randn({7})), trained_tensor("c", at::randn({2}))}}};
  std::vector<at::Tensor> truth, first, second;
  for (const ParameterGroup& group : groups) {
    for (const TrainedTensor& tensor : group.tensors) {
      truth.push_back(tensor.value.to(at::kDouble).clone());
      first.push_back(at::zeros_like(truth.back()));
      second.push_back(at::zeros_like(truth.back()));
    }
  }
  AdamW adamw(groups, options);
  for (std::int64_t step = 0; step < 4; ++step) {
    std::vector<at::Tensor> gradients;
    double squares = 0;
    for (const at::Tensor& value : truth) {
      gradients.push_back(at::randn(value.sizes()));
      squares += gradients.back().to(at::kDouble).square().sum().item<double>();
    }
    const double rate = 0.01 * static_cast<double>(step + 1);
    const double clip = std::min(1.0, options.clip_norm / std::sqrt(squares));
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const at::Tensor gradient = gradients[i].to(at::kDouble) * clip;
      first[i] = options.beta1 * first[i] + (1 - options.beta1) * gradient;
      second[i] = options.beta2 * second[i] + (1 - options.beta2) * gradient.square();
      const double decay = i == 0 ? 0.1 : 0;
      const double n = static_cast<double>(step + 1);
      truth[i] = truth[i] * (1 - rate * decay) -
                 rate * (first[i] / (1 - std::pow(options.beta1, n))) /
                     ((second[i] / (1 - std::pow(options.beta2, n))).sqrt() + options.epsilon);
    }
    EXPECT_NEAR(adamw.update(gradients, step, rate).sum().item<double>(), squares, 1e-4 * squares);
    const std::vector<at::Tensor> values = {groups[0].tensors[0].value, groups[1].tensors[0].value,
                                            groups[1].tensors[1].value};
    for (std::size_t i = 0; i < truth.size(); ++i)
      EXPECT_LT((values[i].to(at::kDouble) - truth[i]).abs().max().item<double>(), 1e-5) << step;
  }
}

TEST(AdamW, CountsItsChanges) {
  const TrainedTensor tensor = trained_tensor("a", at::ones({4}));
  AdamW adamw({{.tensors = {tensor}}}, {});
  const auto before = tensor.value._version();
  adamw.update({at::ones({4})}, 0, 0.1);
  EXPECT_GT(tensor.value._version(), before);
}

TEST(AdamW, NothingChangesByAGradientThatIsNotFinite) {
  const TrainedTensor tensor = trained_tensor("a", at::ones({4}));
  AdamW adamw({{.tensors = {tensor}}}, {});
  const at::Tensor bad = at::full({4}, std::numeric_limits<float>::infinity());
  EXPECT_FALSE(std::isfinite(adamw.update({bad}, 0, 0.1).sum().item<double>()));
  adamw.update({at::ones({4})}, 1, 0.1);  // nor by those after it
  EXPECT_TRUE(at::equal(tensor.value, at::ones({4})));
  adamw.begin();
  adamw.update({at::ones({4})}, 2, 0.1);
  EXPECT_FALSE(at::equal(tensor.value, at::ones({4})));
}

TEST(Schedule, WarmsUpAndFalls) {
  const auto rate = [](LearningRateSchedule schedule, std::int64_t update) {
    return scheduled_rate(schedule, 1.0, 0.2, 4, 12, update);
  };
  for (const LearningRateSchedule each :
       {LearningRateSchedule::kLinear, LearningRateSchedule::kCosine}) {
    EXPECT_DOUBLE_EQ(rate(each, 0), 0.25);
    EXPECT_DOUBLE_EQ(rate(each, 3), 1.0);
    EXPECT_DOUBLE_EQ(rate(each, 4), 1.0);
    EXPECT_NEAR(rate(each, 8), 0.6, 1e-12);
    EXPECT_DOUBLE_EQ(rate(each, 12), 0.2);
    EXPECT_EQ(parse_schedule(schedule_name(each)), each);
  }
  EXPECT_DOUBLE_EQ(rate(LearningRateSchedule::kLinear, 6), 0.8);
  EXPECT_NEAR(rate(LearningRateSchedule::kCosine, 6), 0.2 + 0.8 * 0.8535533905932737, 1e-12);
}

}  // namespace
}  // namespace seer
