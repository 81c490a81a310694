#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <stdexcept>
#include <utility>

#include "distill/distill_attention.h"
#include "distill/training_state.h"
#include "seer/distill.h"

namespace seer {
namespace {

void require(bool holds, const char* field, double value, const char* expected) {
  if (holds) return;
  throw std::invalid_argument(fmt::format("{}: expected {}, got {}", field, expected, value));
}

}  // namespace

TrainingData::~TrainingData() = default;

void DistillOptions::check() const {
  const auto count = [](const char* field, std::int64_t value, std::int64_t least) {
    require(value >= least, field, static_cast<double>(value),
            least == 0 ? "0 or more" : "1 or more");
  };
  require(context >= 2, "context", static_cast<double>(context), "2 tokens or more");
  count("batch size", batch_size, 1);
  count("steps", steps, 0);
  count("warm-up steps", warmup_steps, 0);
  count("checkpoint interval", checkpoint_interval, 1);
  const auto real = [](const char* field, double value, bool holds, const char* expected) {
    require(std::isfinite(value) && holds, field, value, expected);
  };
  real("learning rate", learning_rate, learning_rate > 0, "above 0");
  real("final learning rate", final_learning_rate, final_learning_rate >= 0, "0 or more");
  real("weight decay", weight_decay, weight_decay >= 0, "0 or more");
  real("beta1", beta1, beta1 >= 0 && beta1 < 1, "0 <= beta1 < 1");
  real("beta2", beta2, beta2 >= 0 && beta2 < 1, "0 <= beta2 < 1");
  real("epsilon", epsilon, epsilon > 0, "above 0");
  real("clip norm", clip_norm, clip_norm >= 0, "0 (none) or more");
  real("loss scale", loss_scale, loss_scale > 0, "above 0");
  real("target power", target_power, target_power > 0, "above 0");
  real("row slice", row_slice, row_slice >= 0 && row_slice < 1, "0 <= row slice < 1");
  real("recall ratio", recall_ratio, recall_ratio > 0 && recall_ratio <= 1,
       "above 0 and at most 1");
}

double learning_rate_at(const DistillOptions& options, std::int64_t step) {
  if (step < options.warmup_steps) {
    return options.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(options.warmup_steps);
  }
  const std::int64_t rest = std::max<std::int64_t>(1, options.steps - options.warmup_steps);
  const double progress =
      std::min(1.0, static_cast<double>(step - options.warmup_steps) / static_cast<double>(rest));
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options.final_learning_rate +
         (options.learning_rate - options.final_learning_rate) * cosine;
}

std::string DistillProgress::to_json() const {
  const nlohmann::ordered_json line = {{"step", step},
                                       {"loss", loss},
                                       {"lr", learning_rate},
                                       {"gradient_norm", gradient_norm},
                                       {"layer_loss", layer_loss},
                                       {"layer_recall", layer_recall},
                                       {"tokens", tokens},
                                       {"seconds", seconds}};
  return line.dump();
}

struct Distiller::Impl {
  const Model& model;
  GateSet& gates;
  const TrainingData& data;
  DistillOptions options;
  TrainingState state;
  std::vector<at::Tensor> values;  // of state.parameters

  Impl(const Model& given_model, GateSet& given_gates, const TrainingData& given_data,
       const DistillOptions& given_options)
      : model(given_model), gates(given_gates), data(given_data), options(given_options) {
    options.check();
    if (options.context > model.config().max_positions) {
      throw std::invalid_argument(
          fmt::format("context {}: expected at most {} (max_position_embeddings of {})",
                      options.context, model.config().max_positions, model.config().name));
    }
    gates.set_requires_grad(true);
    state.parameters = gates.parameters();
    for (const GateParameter& parameter : state.parameters) {
      values.push_back(parameter.value);
      const at::NoGradGuard no_grad;
      state.first_moments.push_back(at::zeros_like(parameter.value));
      state.second_moments.push_back(at::zeros_like(parameter.value));
    }
    remember_settings();
  }

  ~Impl() { gates.set_requires_grad(false); }

  // What the weights of a step depend on. The number of threads does too, but a user may have reasons to change it.
  void remember_settings() {
    const auto text = [](auto value) { return fmt::format("{}", value); };
    state.settings = {{"model", gates.config().fingerprint},
                      {"design", gates.config().design},
                      {"data", data.fingerprint()},
                      {"context", text(options.context)},
                      {"batch_size", text(options.batch_size)},
                      {"steps", text(options.steps)},
                      {"learning_rate", text(options.learning_rate)},
                      {"final_learning_rate", text(options.final_learning_rate)},
                      {"warmup_steps", text(options.warmup_steps)},
                      {"weight_decay", text(options.weight_decay)},
                      {"beta1", text(options.beta1)},
                      {"beta2", text(options.beta2)},
                      {"epsilon", text(options.epsilon)},
                      {"clip_norm", text(options.clip_norm)},
                      {"loss", std::string(distill_loss_name(options.loss))},
                      {"loss_scale", text(options.loss_scale)},
                      {"target_power", text(options.target_power)},
                      {"row_slice", text(options.row_slice)}};
  }

  // Adds the gradients of `sequences`, which run together; their losses and recalls go to `progress`.
  void run(const std::vector<std::vector<TokenId>>& sequences, DistillProgress& progress) {
    const double weight = options.loss_scale / static_cast<double>(options.batch_size);
    std::vector<at::Tensor> tokens;
    std::vector<KvCache> caches;
    std::vector<std::unique_ptr<DistillAttention>> attentions;
    std::vector<Attention*> pointers;
    for (const std::vector<TokenId>& sequence : sequences) {
      tokens.push_back(at::tensor(sequence, at::kLong));
      caches.push_back(
          KvCache::one_layer(model.config(), options.context, model.options().tensors()));
      attentions.push_back(std::make_unique<DistillAttention>(gates, options, weight));
      pointers.push_back(attentions.back().get());
    }
    model.forward_each(tokens, caches, pointers);
    const double share = 1 / static_cast<double>(options.batch_size);
    for (const auto& attention : attentions) {
      const std::vector<double> losses = attention->losses();
      const std::vector<double> recalls = attention->recalls();
      for (std::size_t layer = 0; layer < progress.layer_loss.size(); ++layer) {
        progress.layer_loss[layer] += share * losses[layer];
        progress.layer_recall[layer] += share * recalls[layer];
        progress.loss += share * options.loss_scale * losses[layer];
      }
    }
  }

  // Returns the gradients' norm before clipping.
  double clip() {
    std::vector<at::Tensor> sums;
    for (const at::Tensor& value : values) {
      if (value.grad().defined()) sums.push_back(value.grad().square().sum());
    }
    double squares = 0;
    if (!sums.empty()) {
      const at::Tensor together = at::stack(sums).cpu();  // asks the device once
      for (std::int64_t i = 0; i < together.numel(); ++i) {
        squares += static_cast<double>(together.const_data_ptr<float>()[i]);
      }
    }
    const double norm = std::sqrt(squares);
    if (options.clip_norm > 0 && norm > options.clip_norm) {
      for (const at::Tensor& value : values) {
        if (value.grad().defined()) value.mutable_grad().mul_(options.clip_norm / norm);
      }
    }
    return norm;
  }

  void update(double learning_rate) {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients, steps;
    for (const at::Tensor& value : values) {
      gradients.push_back(value.grad().defined() ? value.grad() : at::zeros_like(value));
      steps.push_back(at::full({}, static_cast<double>(state.step + 1), value.options()));
    }
    at::_fused_adamw_(values, gradients, state.first_moments, state.second_moments,
                      /*max_exp_avg_sqs=*/{}, steps, learning_rate, options.beta1, options.beta2,
                      options.weight_decay, options.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }

  void forget_gradients() {
    for (const at::Tensor& value : values) value.mutable_grad() = at::Tensor();
  }

  DistillProgress run_step() {
    const auto start = std::chrono::steady_clock::now();
    DistillProgress progress;
    const auto layers = static_cast<std::size_t>(gates.num_layers());
    progress.layer_loss.assign(layers, 0.0);
    progress.layer_recall.assign(layers, 0.0);
    forget_gradients();
    std::vector<std::vector<TokenId>> together;
    for (std::int64_t i = 0; i < options.batch_size; ++i) {
      together.push_back(data.sequence(state.step * options.batch_size + i, options.context));
      // Loading a layer's weights is worth it for all sequences at once; without that, one takes the least memory.
      if (options.stream_layers && i + 1 < options.batch_size) continue;
      run(together, progress);
      together.clear();
    }
    progress.gradient_norm = clip();
    if (!std::isfinite(progress.gradient_norm)) {
      throw std::runtime_error(
          fmt::format("step {}: the gradient of {} is not finite: lower the learning rate",
                      state.step + 1, first_bad_gradient()));
    }
    progress.learning_rate = learning_rate_at(options, state.step);
    update(progress.learning_rate);
    forget_gradients();
    ++state.step;
    state.tokens += options.batch_size * options.context;
    progress.step = state.step;
    progress.tokens = state.tokens;
    progress.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return progress;
  }

  std::string first_bad_gradient() const {
    for (const GateParameter& parameter : state.parameters) {
      const at::Tensor gradient = parameter.value.grad();
      if (gradient.defined() && !gradient.isfinite().all().item<bool>()) return parameter.name;
    }
    return "all gates together";
  }
};

Distiller::Distiller(const Model& model, GateSet& gates, const TrainingData& data,
                     const DistillOptions& options)
    : impl_(std::make_unique<Impl>(model, gates, data, options)) {}
Distiller::~Distiller() = default;

std::int64_t Distiller::step() const {
  return impl_->state.step;
}

bool Distiller::is_done() const {
  return impl_->state.step >= impl_->options.steps;
}

DistillProgress Distiller::run_step() {
  return impl_->run_step();
}

void Distiller::save_checkpoint(const std::filesystem::path& folder) const {
  save_training_state(impl_->state, folder);
}

void Distiller::resume(const std::filesystem::path& folder) {
  load_training_state(folder, impl_->state);
}

}  // namespace seer
