#include "bench/model/distill_bench.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "bench/model/model_report.h"
#include "bench/model/training_steps.h"
#include "seer/device.h"
#include "seer/distill.h"

namespace seer::bench {

void check_distill_bench(const DistillBenchOptions& options) {
  const ModelConfig config = config_of(options.model);
  check_training_steps(config, options.length, options.batch_size, options.repeats, options.warmup);
}

DistillBenchResult run_distill_bench(const DistillBenchOptions& options,
                                     const std::function<void()>& before_call,
                                     const std::function<void(const std::string&)>& say) {
  const c10::Device device = options.model.device;
  DistillBenchResult result;
  result.options = options;
  result.machine = describe_machine(device);
  say("making the model");
  const ModelConfig config = config_of(options.model);
  const Model model = make_model(options.model, config);
  GateSet gates = make_gates(options.model, config);
  const RandomData data(config);
  DistillOptions training;
  training.context = options.length;
  training.batch_size = options.batch_size;
  training.steps = options.warmup + options.repeats;
  Distiller distiller(model, gates, data, training);

  KvCache cache = KvCache::one_layer(config, options.length, model.options().tensors());
  const at::Tensor tokens =
      at::tensor(random_tokens(config, 0, options.length), at::kLong).unsqueeze(0);
  std::vector<double> losses;
  reset_peak_memory(device);
  const std::vector<Subject> subjects = {
      {"step", [&] { losses.push_back(distiller.run_step().loss); }}, {"forward", [&] {
                                                                         cache.truncate(0);
                                                                         model.forward(tokens,
                                                                                       cache);
                                                                       }}};
  const std::vector<Samples> samples =
      time_steps(subjects, device, options.warmup, options.repeats, before_call, say);
  result.step = samples[0];
  result.forward = samples[1];
  result.first_loss = losses.front();
  result.last_loss = losses.back();
  result.peak_memory = peak_memory(device);
  const auto batch = static_cast<double>(options.batch_size);
  result.tokens_per_second = batch * static_cast<double>(options.length) / result.step.median();
  result.time_over_forward = median_ratio(result.step, result.forward) / batch;
  result.tflops =
      batch * operations_of_pass(config, options.length, 1) / result.step.median() / 1e12;
  return result;
}

std::string distill_json_lines(const DistillBenchResult& result) {
  nlohmann::ordered_json line = {{"benchmark", "distill"},
                                 {"seq", result.options.length},
                                 {"batch_size", result.options.batch_size},
                                 {"seconds", seconds_json(result.step)},
                                 {"spread", spread(result.step)},
                                 {"repeats", result.step.seconds.size()},
                                 {"tokens_per_second", result.tokens_per_second},
                                 {"forward_seconds", seconds_json(result.forward)},
                                 {"time_over_forward", result.time_over_forward},
                                 {"tflops", result.tflops},
                                 {"first_loss", result.first_loss},
                                 {"last_loss", result.last_loss},
                                 {"peak_memory_bytes", result.peak_memory},
                                 {"warmup", result.options.warmup}};
  add_model_fields(result.options.model, result.machine, line);
  return line.dump() + "\n";
}

std::string distill_table(const DistillBenchResult& result) {
  std::string text = model_heading("Distillation", result.options.model, result.machine);
  const auto write = std::back_inserter(text);
  fmt::format_to(write, "{:<24} {} sequences of {} tokens\n", "step", result.options.batch_size,
                 result.options.length);
  fmt::format_to(write, "{:<24} {:.4f} s (median; {:.4f} to {:.4f})\n", "time of a step",
                 result.step.median(), result.step.min(), result.step.max());
  fmt::format_to(write, "{:<24} {:.0f}\n", "tokens a second", result.tokens_per_second);
  fmt::format_to(write, "{:<24} {:.4f} s; a sequence of a step takes {:.3f} of it\n",
                 "dense forward pass", result.forward.median(), result.time_over_forward);
  fmt::format_to(write, "{:<24} {:.1f} (the model's own operations)\n", "TFLOP/s", result.tflops);
  fmt::format_to(write, "{:<24} {:.2f} GB\n", "peak memory",
                 static_cast<double>(result.peak_memory) / 1e9);
  fmt::format_to(write, "\n{} rounds after {} of warm-up, step and pass in turn.\n",
                 result.options.repeats, result.options.warmup);
  return text;
}

}  // namespace seer::bench
