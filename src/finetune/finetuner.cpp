#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "finetune/flat_weights.h"
#include "finetune/model_folder.h"
#include "finetune/trainable_decoder.h"
#include "finetune/training_attention.h"
#include "model/weights.h"
#include "seer/device.h"
#include "seer/finetune.h"
#include "training/adamw.h"
#include "training/data_ahead.h"
#include "training/sharded_moments.h"
#include "training/training_state.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A step whose numbers are still on the device: float64.
struct PendingStep {
  FinetuneProgress progress;
  at::Tensor loss, squares, gate_loss, gate_recall, gate_squares, held_out_loss;
};

}  // namespace

struct Finetuner::Impl {
  ModelConfig model;
  FinetuneOptions options;
  at::ScalarType dtype;
  c10::Device device;
  GateSet* gates;
  const TrainingData& data;
  const TrainingData* held_out;
  ProcessGroup group;
  FlatWeights weights;
  TrainableDecoder decoder;
  mutable TrainingAttention attention;
  mutable TrainingAttention held_out_attention;
  DataAhead ahead;
  TrainingState state;  // of the flat weights: values, and this process's share of the moments
  AdamW optimizer;
  std::optional<AdamW> gate_optimizer;
  std::vector<PendingStep> pending;
  Clock::time_point reported = Clock::now();

  Impl(const ModelConfig& given_model, const Checkpoint& checkpoint, GateSet* given_gates,
       const TrainingData& given_data, const TrainingData* given_held_out,
       const FinetuneOptions& given_options, at::ScalarType given_dtype, c10::Device given_device,
       const ProcessGroup& given_group)
      : model(given_model),
        options(checked(given_options, given_model, given_group)),
        dtype(given_dtype),
        device(given_device),
        gates(given_gates),
        data(given_data),
        held_out(given_held_out),
        group(given_group),
        weights(model, CheckpointWeights(checkpoint), at::TensorOptions(dtype).device(device)),
        decoder(model, weights, device),
        attention(model, gates, options),
        held_out_attention(model, gates, options),
        ahead(data),
        state(new_state()),
        optimizer(model_groups(), adamw_options()) {
    group.require_same(state.settings);
    // Before hours of work: the policy fits the model and its gates.
    attention.begin(options.batch_size, options.context, 0);
    if (learns_gates()) gate_optimizer.emplace(gate_groups(), adamw_options());
  }

  ~Impl() {
    if (gates != nullptr) gates->set_requires_grad(false);
  }

  static const FinetuneOptions& checked(const FinetuneOptions& options, const ModelConfig& model,
                                        const ProcessGroup& group) {
    options.check();
    if (options.gradient_accumulation % group.size() != 0) {
      throw std::invalid_argument(fmt::format(
          "gradient accumulation {}: expected a multiple of the {} processes that share "
          "the batches of a step",
          options.gradient_accumulation, group.size()));
    }
    if (options.context > model.max_positions) {
      throw std::invalid_argument(
          fmt::format("context {}: expected at most {} (the positions of {}, scaled); ask for "
                      "more with rope scaling",
                      options.context, model.max_positions, model.name));
    }
    return options;
  }

  bool learns_gates() const { return gates != nullptr && !options.freeze_gates; }
  bool learns_gates_now() const { return gates != nullptr && options.gates_learn_in(state.step); }

  // What the weights of a step depend on. The number of threads does too, but a user may have reasons to change it.
  TrainingState new_state() const {
    TrainingState fresh;
    fresh.tensors = {shared_tensor(group, "model.matrices", weights.matrices()),
                     shared_tensor(group, "model.vectors", weights.vectors())};
    if (gates != nullptr) {
      gates->set_requires_grad(learns_gates());
      for (const GateParameter& parameter : gates->parameters()) {
        if (learns_gates()) {
          fresh.tensors.push_back(trained_tensor(parameter.name, parameter.value));
        }
      }
    }
    GateConfig base;
    set_base_model(model, base);
    fresh.settings = {{"model", base.fingerprint},
                      {"gates", gates == nullptr ? "none" : gates->config().design},
                      {"data", data.fingerprint()},
                      {"held_out", held_out == nullptr ? "none" : held_out->fingerprint()},
                      {"dtype", fmt::format("{}", c10::toString(dtype))},
                      {"seed", fmt::format("{}", options.seed)},
                      {"settings", settings_json(options)}};
    return fresh;
  }

  AdamWOptions adamw_options() const {
    return {.beta1 = options.beta1,
            .beta2 = options.beta2,
            .epsilon = options.epsilon,
            .clip_norm = options.clip_norm};
  }

  std::vector<ParameterGroup> model_groups() const {
    return {{.tensors = {own_share(group, state.tensors[0])}, .weight_decay = options.weight_decay},
            {.tensors = {own_share(group, state.tensors[1])}}};
  }

  std::vector<ParameterGroup> gate_groups() const {
    return {{.tensors = {state.tensors.begin() + 2, state.tensors.end()}}};
  }

  // int64 [batch, length] on the device.
  at::Tensor to_device(const std::vector<std::vector<TokenId>>& sequences) const {
    const auto length = static_cast<std::int64_t>(sequences.front().size());
    const at::Tensor host = at::zeros({static_cast<std::int64_t>(sequences.size()), length},
                                      at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
    auto* out = host.mutable_data_ptr<std::int64_t>();
    for (const std::vector<TokenId>& sequence : sequences)
      for (const TokenId token : sequence) *out++ = token;
    return host.to(device, /*non_blocking=*/true);
  }

  // Of this process: its share of the step's batches.
  std::vector<SequencePlace> places_of(std::int64_t step) const {
    std::vector<SequencePlace> places;
    if (step >= options.steps) return places;
    const std::int64_t count = options.sequences_of_a_step();
    const ProcessGroup::Share own = group.share(count);
    for (std::int64_t i = own.first; i < own.first + own.count; ++i)
      places.push_back({.length = options.context, .index = step * count + i});
    return places;
  }

  // The gradients of a step are complete when this returns.
  at::Tensor accumulate(const DataAhead::Sequences& sequences) {
    weights.forget_gradients();
    attention.forget_gates();
    const double count = static_cast<double>(options.sequences_of_a_step());
    const double scale = 1 / (count * static_cast<double>(options.context - 1));
    const double gate_weight = learns_gates_now() ? options.gate_loss_scale / count : 0;
    at::Tensor sum;
    for (std::int64_t i = 0; i < options.gradient_accumulation / group.size(); ++i) {
      const auto first = sequences.begin() + i * options.batch_size;
      const at::Tensor tokens = to_device({first, first + options.batch_size});
      attention.begin(options.batch_size, options.context, gate_weight);
      const at::Tensor part = decoder.learn(tokens, attention, scale, options.recompute);
      sum = sum.defined() ? sum + part : part;
    }
    return sum * scale;
  }

  // All weights and gates by their gradients.
  void update(PendingStep& step) {
    step.progress.learning_rate = learning_rate_at(options, state.step);
    group.sum(weights.gradients());
    const at::Tensor matrices = weights.matrix_gradients(), vectors = weights.vector_gradients();
    step.squares = squares_of({matrices, vectors});
    optimizer.update({own_share(group, matrices), own_share(group, vectors)}, step.squares,
                     state.step, step.progress.learning_rate);
    group.complete(state.tensors[0].value);
    group.complete(state.tensors[1].value);
    weights.update_copy();
    if (learns_gates_now()) update_gates(step);
  }

  void update_gates(PendingStep& step) {
    std::vector<at::Tensor> gradients;
    for (std::size_t i = 2; i < state.tensors.size(); ++i) {
      at::Tensor& gradient = state.tensors[i].value.mutable_grad();
      gradients.push_back(gradient.defined() ? gradient : at::zeros_like(state.tensors[i].value));
      gradient = at::Tensor();
    }
    group.sum(gradients);
    const double rate = options.gate_learning_rate / options.learning_rate;
    step.gate_squares = gate_optimizer->update(gradients, state.step / options.gate_interval,
                                               rate * step.progress.learning_rate);
    // Processes with other numbers of threads may round otherwise.
    group.broadcast(values_of({state.tensors.begin() + 2, state.tensors.end()}));
  }

  std::vector<FinetuneProgress> run_step() {
    PendingStep step;
    step.loss = accumulate(ahead.take(places_of(state.step), places_of(state.step + 1)));
    step.gate_loss = attention.gate_loss();
    step.gate_recall = attention.gate_recall();
    update(step);
    ++state.step;
    state.tokens += options.sequences_of_a_step() * options.context;
    const bool is_last = state.step == options.steps;
    const bool is_measured = held_out != nullptr && options.eval_interval > 0 &&
                             (state.step % options.eval_interval == 0 || is_last);
    if (is_measured) step.held_out_loss = measure_held_out();
    step.progress.step = state.step;
    step.progress.tokens = state.tokens;
    pending.push_back(std::move(step));
    const bool is_due = state.step % options.log_interval == 0 || is_last || is_measured;
    return is_due || device.is_cpu() ? report() : std::vector<FinetuneProgress>();
  }

  // From here on the host waits for the device.
  std::vector<FinetuneProgress> report() {
    std::vector<FinetuneProgress> reports;
    if (pending.empty()) return reports;
    const double processes = group.size();
    at::Tensor density = at::full({}, attention.density(), at::kDouble);
    group.sum(density);
    for (PendingStep& step : pending) {
      std::vector<at::Tensor> sums = {step.loss};
      if (step.gate_loss.defined()) sums.insert(sums.end(), {step.gate_loss, step.gate_recall});
      group.sum(sums);
      const auto number = [](const at::Tensor& x) { return x.item<double>(); };
      FinetuneProgress& progress = step.progress;
      progress.loss = number(step.loss);
      progress.gradient_norm = std::sqrt(number(step.squares.sum()));
      require_finite(progress, "the model", progress.gradient_norm);
      progress.density = density.item<double>() / processes;
      if (step.gate_loss.defined()) {
        progress.gate_loss = options.gate_loss_scale * number(step.gate_loss) / processes;
        progress.gate_recall = number(step.gate_recall) / processes;
        require_finite(progress, "the gates", number(step.gate_squares.sum()));
      }
      if (step.held_out_loss.defined()) progress.held_out_loss = number(step.held_out_loss);
    }
    const double seconds = seconds_since(reported) / static_cast<double>(pending.size());
    for (PendingStep& step : pending) {
      step.progress.seconds = seconds;
      reports.push_back(step.progress);
    }
    pending.clear();
    attention.forget_density();
    reported = Clock::now();
    return reports;
  }

  static void require_finite(const FinetuneProgress& step, const char* whose, double value) {
    if (std::isfinite(value)) return;
    throw std::runtime_error(fmt::format(
        "step {}: the gradient of {} is not finite: lower the learning rate (--learning-rate, "
        "--gate-learning-rate), or check that the weights of the model are sound",
        step.step, whose));
  }

  // Mean over the tokens, float64 on the device.
  at::Tensor measure_held_out() const {
    const ProcessGroup::Share own = group.share(options.eval_sequences);
    at::Tensor sum = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
    for (std::int64_t i = own.first; i < own.first + own.count; ++i) {
      held_out_attention.begin(1, options.context, 0);
      const at::Tensor part =
          decoder.loss(to_device({held_out->sequence(i, options.context)}), held_out_attention);
      sum = sum + part;
    }
    group.sum(sum);
    held_out_attention.forget_density();
    return sum / static_cast<double>(options.eval_sequences * (options.context - 1));
  }
};

Finetuner::Finetuner(const ModelConfig& model, const Checkpoint& checkpoint, GateSet* gates,
                     const TrainingData& data, const TrainingData* held_out,
                     const FinetuneOptions& options, at::ScalarType dtype, c10::Device device,
                     ProcessGroup group) {
  require_device(device);
  check_tensors(model, checkpoint);
  impl_ = std::make_unique<Impl>(model, checkpoint, gates, data, held_out, options, dtype, device,
                                 group);
}
Finetuner::~Finetuner() = default;

std::int64_t Finetuner::step() const {
  return impl_->state.step;
}

std::int64_t Finetuner::tokens() const {
  return impl_->state.tokens;
}

bool Finetuner::is_done() const {
  return impl_->state.step >= impl_->options.steps;
}

std::vector<FinetuneProgress> Finetuner::run_step() {
  return impl_->run_step();
}

std::vector<FinetuneProgress> Finetuner::finish() {
  return impl_->report();
}

double Finetuner::held_out_loss() const {
  if (impl_->held_out == nullptr)
    throw std::logic_error("Finetuner::held_out_loss: there is no held-out text");
  return impl_->measure_held_out().item<double>();
}

void Finetuner::save_checkpoint(const std::filesystem::path& folder) const {
  const TrainingState whole = with_all_moments(impl_->group, impl_->state);
  if (impl_->group.is_first()) save_training_state(whole, folder);
  impl_->group.barrier();
}

void Finetuner::resume(const std::filesystem::path& folder) {
  load_own_share(impl_->group, folder, impl_->state);
  impl_->weights.update_copy();
}

void Finetuner::write_model(const std::filesystem::path& source,
                            const std::optional<RopeScaling>& scaling,
                            const std::filesystem::path& out) {
  // Its thresholds belong to the maps of the model as it was.
  if (impl_->gates != nullptr && impl_->state.step > 0) impl_->gates->set_calibration({});
  write_model_folder(source, impl_->model, scaling, impl_->weights.named(), impl_->dtype,
                     impl_->gates, out);
}

}  // namespace seer
