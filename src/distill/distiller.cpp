#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "base/ceil_div.h"
#include "distill/distill_attention.h"
#include "distill/replay.h"
#include "distill/sequence_order.h"
#include "seer/distill.h"
#include "training/adamw.h"
#include "training/data_ahead.h"
#include "training/training_state.h"

namespace seer {

TrainingData::~TrainingData() = default;

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
  ProcessGroup group;
  SequenceOrder order;
  DataAhead ahead;
  TrainingState state;
  AdamW optimizer;
  ReplayRing replay;

  Impl(const Model& given_model, GateSet& given_gates, const TrainingData& given_data,
       const DistillOptions& given_options, const ProcessGroup& given_group)
      : model(given_model),
        gates(given_gates),
        data(given_data),
        options(checked(given_options, given_model.config())),
        group(given_group),
        order(options),
        ahead(data),
        state(new_state()),
        optimizer({{.tensors = state.tensors, .weight_decay = options.weight_decay}},
                  {.beta1 = options.beta1,
                   .beta2 = options.beta2,
                   .epsilon = options.epsilon,
                   .clip_norm = options.clip_norm}),
        replay(options) {
    group.require_same(state.settings);
  }

  ~Impl() { gates.set_requires_grad(false); }

  static const DistillOptions& checked(const DistillOptions& options, const ModelConfig& model) {
    options.check();
    if (options.longest_sequence() > model.max_positions) {
      throw std::invalid_argument(
          fmt::format("context {}: expected at most {} (max_position_embeddings of {})",
                      options.longest_sequence(), model.max_positions, model.name));
    }
    return options;
  }

  // What the weights of a step depend on. The number of threads does too, but a user may have reasons to change it.
  TrainingState new_state() const {
    const auto text = [](auto value) { return fmt::format("{}", value); };
    gates.set_requires_grad(true);
    TrainingState fresh;
    for (const GateParameter& parameter : gates.parameters())
      fresh.tensors.push_back(trained_tensor(parameter.name, parameter.value));
    fresh.settings = {{"model", gates.config().fingerprint},
                      {"design", gates.config().design},
                      {"data", data.fingerprint()},
                      {"context", lengths_text(options)},
                      {"batch_size", text(options.batch_size)},
                      {"steps", text(options.steps)},
                      {"replay", text(options.replay)},
                      {"replay_sequences", text(options.replay_sequences)},
                      {"seed", text(options.seed)},
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
    return fresh;
  }

  // Losses are means over a map's entries, so that a row of a long sequence would weigh less than one of a short one.
  double weight_of(const BlockGrid& grid) const {
    std::int64_t shortest = options.longest_sequence();
    for (const LengthCount& each : options.lengths) shortest = std::min(shortest, each.length);
    const double columns = static_cast<double>(ceil_div(shortest, grid.block_size));
    return options.loss_scale * (static_cast<double>(grid.kv_blocks()) / columns);
  }
  double weight_of(std::int64_t length) const {
    return weight_of({.q_len = length, .kv_len = length, .block_size = gates.config().block_size});
  }
  double share() const { return 1 / static_cast<double>(options.batch_size); }

  // Of the sequences of a step; none behind the last.
  std::vector<SequencePlace> places_of(std::int64_t step) const {
    std::vector<SequencePlace> places;
    if (step >= options.steps) return places;
    for (std::int64_t i = 0; i < options.batch_size; ++i)
      places.push_back(order.at(step * options.batch_size + i));
    return places;
  }

  // Of these, this process's.
  std::vector<SequencePlace> own_places_of(std::int64_t step) const {
    const std::vector<SequencePlace> all = places_of(step);
    if (all.empty()) return all;
    const ProcessGroup::Share own = group.share(options.batch_size);
    return {all.begin() + own.first, all.begin() + own.first + own.count};
  }

  using Attentions = std::vector<std::unique_ptr<DistillAttention>>;

  // Runs sequences through the model together.
  void run_together(const DataAhead::Sequences& sequences, DistillPass pass,
                    Attentions& attentions) {
    std::vector<at::Tensor> tokens;
    std::vector<KvCache> caches;
    std::vector<Attention*> pointers;
    for (const std::vector<TokenId>& sequence : sequences) {
      const auto length = static_cast<std::int64_t>(sequence.size());
      tokens.push_back(at::tensor(sequence, at::kLong));
      caches.push_back(KvCache::one_layer(model.config(), length, model.options().tensors()));
      attentions.push_back(std::make_unique<DistillAttention>(
          gates, options, weight_of(length) / static_cast<double>(options.batch_size), pass));
      pointers.push_back(attentions.back().get());
    }
    model.forward_each(tokens, caches, pointers);
  }

  // Runs this process's sequences of a step; those that are to be replayed later are kept.
  Attentions run_sequences(std::int64_t step, bool learn) {
    const DataAhead::Sequences all = ahead.take(own_places_of(step), own_places_of(step + 1));
    const DistillPass pass{.learn = learn, .keep = options.replay > 0};
    Attentions attentions;
    if (options.stream_layers && !all.empty()) {
      // Loading a layer's weights is worth it for all sequences at once; without that, one takes the least memory.
      run_together(all, pass, attentions);
    } else {
      for (const std::vector<TokenId>& sequence : all) run_together({sequence}, pass, attentions);
    }
    if (pass.keep) keep(attentions);
    return attentions;
  }

  // All processes draw the same sequences; each learns from those that it ran, and of the others keeps the place.
  void keep(const Attentions& attentions) {
    const ProcessGroup::Share own = group.share(options.batch_size);
    for (std::int64_t i = 0; i < options.batch_size; ++i) {
      const bool is_own = i >= own.first && i < own.first + own.count;
      replay.add(is_own ? attentions[static_cast<std::size_t>(i - own.first)]->take_examples()
                        : SequenceExamples());
    }
  }

  // Adds the gradients of a sequence that was kept.
  void learn_again(const SequenceExamples& sequence) {
    for (std::size_t layer = 0; layer < sequence.size(); ++layer) {
      const GateExample& example = sequence[layer];
      const at::Tensor loss =
          predict(gates.layer(static_cast<std::int64_t>(layer)), example, options.gate_loss()).loss;
      (loss * (weight_of(example.grid) / static_cast<double>(options.batch_size))).backward();
    }
  }

  // Returns what AdamW::update() does.
  at::Tensor update(std::int64_t number) {
    std::vector<at::Tensor> gradients;
    for (const TrainedTensor& tensor : state.tensors) {
      const at::Tensor& gradient = tensor.value.grad();
      gradients.push_back(gradient.defined() ? gradient : at::zeros_like(tensor.value));
    }
    group.sum(gradients);
    at::Tensor squares = optimizer.update(gradients, number, learning_rate_at(options, number));
    // Processes with other numbers of threads may round otherwise.
    std::vector<at::Tensor> values;
    for (const TrainedTensor& tensor : state.tensors) values.push_back(tensor.value);
    group.broadcast(values);
    forget_gradients();
    return squares;
  }

  void forget_gradients() const {
    for (const TrainedTensor& tensor : state.tensors) tensor.value.mutable_grad() = at::Tensor();
  }

  DistillProgress run_step() {
    const auto start = std::chrono::steady_clock::now();
    const std::int64_t first_update = state.step * (1 + options.replay);
    forget_gradients();
    optimizer.begin();
    const Attentions attentions = run_sequences(state.step, /*learn=*/true);
    std::vector<at::Tensor> squares = {update(first_update)};
    for (std::int64_t i = 0; i < options.replay; ++i) {
      const std::int64_t number = first_update + 1 + i;
      for (std::int64_t j = 0; j < options.batch_size; ++j)
        learn_again(replay.draw(number * options.batch_size + j));
      squares.push_back(update(number));
    }
    // From here on the host waits for the device.
    DistillProgress progress;
    take_losses(attentions, progress);
    progress.gradient_norm = checked_norm(squares);
    progress.learning_rate = learning_rate_at(options, first_update);
    for (const SequencePlace& place : places_of(state.step)) state.tokens += place.length;
    ++state.step;
    progress.step = state.step;
    progress.tokens = state.tokens;
    progress.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return progress;
  }

  void take_losses(const Attentions& attentions, DistillProgress& progress) const {
    const auto layers = static_cast<std::size_t>(gates.num_layers());
    progress.layer_loss.assign(layers, 0.0);
    progress.layer_recall.assign(layers, 0.0);
    for (const auto& attention : attentions) {
      const std::vector<double> losses = attention->losses();
      const std::vector<double> recalls = attention->recalls();
      for (std::size_t layer = 0; layer < layers; ++layer) {
        progress.layer_loss[layer] += share() * losses[layer];
        progress.layer_recall[layer] += share() * recalls[layer];
        progress.loss += attention->weight() * losses[layer];
      }
    }
    const auto sum = [&](std::vector<double>& numbers) {
      group.sum(at::from_blob(numbers.data(), {static_cast<std::int64_t>(numbers.size())},
                              at::TensorOptions(at::kDouble)));
    };
    std::vector<double> loss = {progress.loss};
    sum(loss);
    sum(progress.layer_loss);
    sum(progress.layer_recall);
    progress.loss = loss.front();
  }

  // The gradient's norm of the first update. Throws where that of any is not finite.
  double checked_norm(const std::vector<at::Tensor>& squares) const {
    if (state.tensors.empty()) return 0;
    const at::Tensor together = at::stack(squares).cpu();  // asks the device once
    const double* square = together.const_data_ptr<double>();
    double first = 0;
    for (std::size_t update = 0; update < squares.size(); ++update) {
      double sum = 0;
      for (const TrainedTensor& tensor : state.tensors) {
        sum += *square++;
        if (std::isfinite(sum)) continue;
        throw std::runtime_error(
            fmt::format("step {}: the gradient of {} is not finite: lower the learning rate",
                        state.step + 1, tensor.name));
      }
      if (update == 0) first = std::sqrt(sum);
    }
    return first;
  }

  void resume(const std::filesystem::path& folder) {
    load_training_state(folder, state);
    if (options.replay == 0) return;
    // What was kept does not depend on the gates: the same sequences give it again.
    const std::int64_t steps = ceil_div(options.replay_sequences, options.batch_size);
    for (std::int64_t step = std::max<std::int64_t>(0, state.step - steps); step < state.step;
         ++step) {
      run_sequences(step, /*learn=*/false);
    }
  }
};

Distiller::Distiller(const Model& model, GateSet& gates, const TrainingData& data,
                     const DistillOptions& options, ProcessGroup group)
    : impl_(std::make_unique<Impl>(model, gates, data, options, group)) {}
Distiller::~Distiller() = default;

std::int64_t Distiller::step() const {
  return impl_->state.step;
}

std::int64_t Distiller::tokens() const {
  return impl_->state.tokens;
}

bool Distiller::is_done() const {
  return impl_->state.step >= impl_->options.steps;
}

DistillProgress Distiller::run_step() {
  return impl_->run_step();
}

void Distiller::save_checkpoint(const std::filesystem::path& folder) const {
  if (impl_->group.is_first()) save_training_state(impl_->state, folder);
  impl_->group.barrier();
}

void Distiller::resume(const std::filesystem::path& folder) {
  impl_->resume(folder);
}

}  // namespace seer
