#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "seer/finetune.h"
#include "training/schedule.h"

namespace seer {
namespace {

void require(bool holds, const char* field, double value, const char* expected) {
  if (holds) return;
  throw std::invalid_argument(fmt::format("{}: expected {}, got {}", field, expected, value));
}

}  // namespace

void FinetuneOptions::check() const {
  const auto count = [](const char* field, std::int64_t value, std::int64_t least) {
    require(value >= least, field, static_cast<double>(value),
            least == 0 ? "0 or more" : "1 or more");
  };
  require(context >= 2, "context", static_cast<double>(context), "2 tokens or more");
  count("steps", steps, 0);
  count("batch size", batch_size, 1);
  count("gradient accumulation", gradient_accumulation, 1);
  count("warm-up steps", warmup_steps, 0);
  count("evaluation interval", eval_interval, 0);
  count("evaluation sequences", eval_sequences, 1);
  count("checkpoint interval", checkpoint_interval, 1);
  count("log interval", log_interval, 1);
  count("gate interval", gate_interval, 1);
  const auto real = [](const char* field, double value, bool holds, const char* expected) {
    require(std::isfinite(value) && holds, field, value, expected);
  };
  real("learning rate", learning_rate, learning_rate > 0, "above 0");
  real("final learning rate", final_learning_rate, final_learning_rate >= 0, "0 or more");
  real("gate learning rate", gate_learning_rate, gate_learning_rate > 0, "above 0");
  real("gate loss scale", gate_loss_scale, gate_loss_scale > 0, "above 0");
  real("target power", gate_loss.target_power, gate_loss.target_power > 0, "above 0");
  real("row slice", gate_loss.row_slice, gate_loss.row_slice >= 0 && gate_loss.row_slice < 1,
       "0 <= row slice < 1");
  real("weight decay", weight_decay, weight_decay >= 0, "0 or more");
  real("beta1", beta1, beta1 >= 0 && beta1 < 1, "0 <= beta1 < 1");
  real("beta2", beta2, beta2 >= 0 && beta2 < 1, "0 <= beta2 < 1");
  real("epsilon", epsilon, epsilon > 0, "above 0");
  real("clip norm", clip_norm, clip_norm >= 0, "0 (none) or more");
}

double learning_rate_at(const FinetuneOptions& options, std::int64_t update) {
  return scheduled_rate(options.schedule, options.learning_rate, options.final_learning_rate,
                        options.warmup_steps, options.steps, update);
}

std::string settings_json(const FinetuneOptions& options) {
  const nlohmann::ordered_json settings = {{"context", options.context},
                                           {"steps", options.steps},
                                           {"batch_size", options.batch_size},
                                           {"gradient_accumulation", options.gradient_accumulation},
                                           {"learning_rate", options.learning_rate},
                                           {"final_learning_rate", options.final_learning_rate},
                                           {"schedule", schedule_name(options.schedule)},
                                           {"warmup_steps", options.warmup_steps},
                                           {"weight_decay", options.weight_decay},
                                           {"beta1", options.beta1},
                                           {"beta2", options.beta2},
                                           {"epsilon", options.epsilon},
                                           {"clip_norm", options.clip_norm},
                                           {"policy", options.policy},
                                           {"freeze_gates", options.freeze_gates},
                                           {"gate_interval", options.gate_interval},
                                           {"gate_learning_rate", options.gate_learning_rate},
                                           {"gate_loss_scale", options.gate_loss_scale},
                                           {"gate_loss", distill_loss_name(options.gate_loss.loss)},
                                           {"target_power", options.gate_loss.target_power},
                                           {"row_slice", options.gate_loss.row_slice}};
  return settings.dump();
}

std::string FinetuneProgress::to_json() const {
  nlohmann::ordered_json line = {{"step", step},
                                 {"loss", loss},
                                 {"lr", learning_rate},
                                 {"gradient_norm", gradient_norm},
                                 {"density", density}};
  if (gate_loss) line["gate_loss"] = *gate_loss;
  if (gate_recall) line["gate_recall"] = *gate_recall;
  if (held_out_loss) line["held_out_loss"] = *held_out_loss;
  line["tokens"] = tokens;
  line["seconds"] = seconds;
  return line.dump();
}

}  // namespace seer
