#include <fmt/format.h>

#include <algorithm>

#include "base/ceil_div.h"
#include "model/memory_estimate.h"
#include "seer/finetune.h"
#include "training/estimate.h"

namespace seer {

std::string finetune_plan_text(const ModelConfig& model, const GateSet* gates,
                               const FinetuneOptions& options, at::ScalarType dtype,
                               c10::Device device) {
  const auto as_double = [](std::int64_t value) { return static_cast<double>(value); };
  const auto element = as_double(static_cast<std::int64_t>(at::elementSize(dtype)));
  const ParameterCount parameters = count_parameters(model);
  const double rows = as_double(options.batch_size * options.context);
  const double q_width = as_double(model.num_q_heads * model.head_dim);
  const double kv_width = as_double(model.num_kv_heads * model.head_dim);
  const auto hidden = as_double(model.hidden_size), inner = as_double(model.intermediate_size);
  const auto layers = as_double(model.num_layers);

  // Master weights, gradients and two moments in float32, and the copy that layers compute with.
  const double states = as_double(parameters.total) * (4 * 4 + (dtype == at::kFloat ? 0 : element));
  // Of a layer: two normed rows, the sum between, the projection with its turned heads, what was attended, the MLP.
  const double layer = rows * element * (4 * hidden + 3 * q_width + 4 * kv_width + 3 * inner);
  const double kept =
      options.recompute ? layers * rows * element * hidden + 2 * layer : (layers + 1) * layer;
  constexpr double kLossRows = 2048;
  const double loss = std::min(rows, kLossRows) * as_double(model.vocab_size) * (4 + 2 * element);
  double maps = 0;
  std::string gates_line = "none";
  if (gates != nullptr) {
    const double blocks = as_double(ceil_div(options.context, gates->config().block_size));
    const double entries = as_double(model.num_q_heads) * blocks * blocks;
    // The masks of all layers; where gates learn, a layer's maps with their targets, logits and their gradients.
    maps =
        as_double(options.batch_size) * entries * (layers + (options.freeze_gates ? 0.0 : 6.0 * 4));
    gates_line = fmt::format("{}, block size {}: {} parameters, {}", gates->config().design,
                             gates->config().block_size, gates->parameter_count(),
                             options.freeze_gates ? "frozen" : "learning beside");
  }
  const std::int64_t sequences = options.steps * options.sequences_of_a_step();
  const PassOperations pass = operations_of_a_pass(model, options.context);
  // Backward costs two passes of products, and two and a half of attention; recomputing is one pass more.
  const double again = options.recompute ? 1 : 0;
  const double operations =
      as_double(sequences) * ((3 + again) * pass.products + (3.5 + again) * pass.attention);

  std::string text;
  text += fmt::format("model            {} ({} parameters, {} positions)\n", model.name,
                      parameters.total, model.max_positions);
  text += fmt::format("gates            {}\n", gates_line);
  text += fmt::format("settings         {}\n", settings_json(options));
  text +=
      fmt::format("steps            {} of {} sequences of {} tokens: {} tokens\n", options.steps,
                  options.sequences_of_a_step(), options.context, sequences * options.context);
  text += fmt::format(
      "memory           {} (weights with gradients and moments {}, activations {}, loss {}, maps "
      "{})\n",
      gigabytes_text(states + kept + loss + maps), gigabytes_text(states), gigabytes_text(kept),
      gigabytes_text(loss), gigabytes_text(maps));
  text += fmt::format(
      "time             at most {} (with dense attention, at the speed of this machine's matrix "
      "products)\n",
      duration_text(operations / measured_speed(at::TensorOptions(dtype).device(device))));
  return text;
}

}  // namespace seer
