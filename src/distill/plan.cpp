#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/ceil_div.h"
#include "distill/sequence_order.h"
#include "model/memory_estimate.h"
#include "seer/device.h"
#include "seer/distill_plan.h"
#include "training/estimate.h"
#include "training/gate_example.h"

namespace seer {

std::string settings_json(const DistillOptions& options) {
  const nlohmann::ordered_json context = options.lengths.empty()
                                             ? nlohmann::ordered_json(options.context)
                                             : nlohmann::ordered_json(lengths_text(options));
  const nlohmann::ordered_json settings = {{"context", context},
                                           {"batch_size", options.batch_size},
                                           {"steps", options.steps},
                                           {"replay", options.replay},
                                           {"replay_sequences", options.replay_sequences},
                                           {"learning_rate", options.learning_rate},
                                           {"final_learning_rate", options.final_learning_rate},
                                           {"warmup_steps", options.warmup_steps},
                                           {"weight_decay", options.weight_decay},
                                           {"beta1", options.beta1},
                                           {"beta2", options.beta2},
                                           {"epsilon", options.epsilon},
                                           {"clip_norm", options.clip_norm},
                                           {"loss", distill_loss_name(options.loss)},
                                           {"loss_scale", options.loss_scale},
                                           {"target_power", options.target_power},
                                           {"row_slice", options.row_slice}};
  return settings.dump();
}

std::string distill_plan_text(const ModelConfig& model, const GateSet& gates,
                              const DistillOptions& options, const at::TensorOptions& tensors) {
  const at::ScalarType dtype = tensors.dtype().toScalarType();
  const auto element = static_cast<double>(at::elementSize(dtype));
  const auto as_double = [](std::int64_t value) { return static_cast<double>(value); };
  const std::int64_t longest = options.longest_sequence();
  const std::int64_t sequences = options.steps * options.batch_size;
  const SequenceOrder order(options);
  const ParameterCount parameters = count_parameters(model);
  const double layer_weights = as_double(parameters.total - parameters.embedding) /
                               as_double(std::max<std::int64_t>(1, model.num_layers));
  const double weights = options.stream_layers
                             ? (as_double(parameters.embedding) + layer_weights) * element
                             : as_double(parameters.total) * element;
  const std::int64_t together = options.stream_layers ? options.batch_size : 1;
  const std::int64_t block_size = gates.config().block_size;
  const double blocks = as_double(ceil_div(longest, block_size));
  // Hidden states, queries and the projection, of the sequences that run together; one layer's keys and values, and
  // the map with its target, logits and their gradients.
  const double rows = as_double(together * longest) * element *
                      as_double(3 * model.hidden_size + 3 * model.num_q_heads * model.head_dim +
                                2 * model.num_kv_heads * model.head_dim);
  const double cache =
      as_double(together * longest) * element * 2 * as_double(model.num_kv_heads * model.head_dim);
  const double maps = 6 * 4 * as_double(model.num_q_heads) * blocks * blocks;
  const double trained =
      4 * 4 * as_double(gates.parameter_count());     // values, gradients, two moments
  std::map<std::int64_t, std::int64_t> sequences_of;  // by length
  for (const std::int64_t length : order.lengths(sequences)) ++sequences_of[length];
  double operations = 0;
  for (const auto& [length, count] : sequences_of)
    operations += as_double(count) * operations_of_a_pass(model, length).all();
  const double kept = options.replay == 0
                          ? 0
                          : as_double(options.replay_sequences) *
                                kept_bytes(gates, options.gate_loss(), dtype, longest);

  std::string text;
  text += fmt::format("model            {} ({} parameters)\n", model.name, parameters.total);
  text +=
      fmt::format("gates            {}, block size {}, width {}: {} parameters\n",
                  gates.config().design, block_size, gates.config().width, gates.parameter_count());
  text += fmt::format("settings         {}\n", settings_json(options));
  if (options.lengths.empty()) {
    text +=
        fmt::format("steps            {} of {} sequences of {} tokens: {} tokens\n", options.steps,
                    options.batch_size, options.context, sequences * options.context);
  } else {
    text += fmt::format("steps            {} of {} sequences: {} tokens\n", options.steps,
                        options.batch_size, order.tokens(sequences));
    for (const auto& [length, count] : sequences_of)
      text += fmt::format("                 {} sequences of {} tokens\n", count, length);
  }
  text += fmt::format("memory           {} (weights {}{}, activations {}, maps {}, gates {}{})\n",
                      gigabytes_text(weights + rows + cache + maps + trained + kept),
                      gigabytes_text(weights),
                      options.stream_layers ? " of one layer and the embedding" : "",
                      gigabytes_text(rows + cache), gigabytes_text(maps), gigabytes_text(trained),
                      kept > 0 ? ", replay at most " + gigabytes_text(kept) : "");
  if (options.replay > 0) {
    text += fmt::format("updates          {}: {} a step on kept sequences of {:.1f} MB at most\n",
                        options.updates(), options.replay,
                        kept_bytes(gates, options.gate_loss(), dtype, longest) / 1e6);
  }
  text += fmt::format("time             {} at the speed of this machine's matrix products in {}\n",
                      duration_text(operations / measured_speed(tensors)), dtype_name(dtype));
  return text;
}

}  // namespace seer
