#include "bench/model/finetune_bench.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "bench/model/model_report.h"
#include "bench/model/training_steps.h"
#include "seer/device.h"
#include "seer/finetune.h"
#include "seer/sparse_attention.h"

namespace seer::bench {
namespace {

bool has_gates(const FinetuneBenchOptions& options) {
  return options.policy.starts_with("gate");
}

// A training of its own, with its own weights. Its reports are never due before the last step, so that on a GPU nothing
// waits for one.
class Training {
 public:
  Training(const FinetuneBenchOptions& options, const ModelConfig& config,
           const Checkpoint& checkpoint, const TrainingData& data, const std::string& policy,
           bool freeze_gates) {
    const bool needs_gates = policy.starts_with("gate");
    if (needs_gates) gates_.emplace(make_gates(options.model, config));
    FinetuneOptions training;
    training.context = options.length;
    training.batch_size = options.batch_size;
    training.steps = options.warmup + options.repeats + 1;
    training.policy = policy;
    training.recompute = options.recompute;
    training.freeze_gates = freeze_gates;
    training.eval_interval = 0;
    training.log_interval = training.steps;
    finetuner_.emplace(config, checkpoint, needs_gates ? &*gates_ : nullptr, data, nullptr,
                       training, options.model.dtype, options.model.device);
  }

  void step() {
    for (const FinetuneProgress& progress : finetuner_->run_step()) density_ = progress.density;
  }
  double density() {
    for (const FinetuneProgress& progress : finetuner_->finish()) density_ = progress.density;
    return density_;
  }

 private:
  std::optional<GateSet> gates_;
  std::optional<Finetuner> finetuner_;
  double density_ = 1;
};

}  // namespace

void check_finetune_bench(const FinetuneBenchOptions& options) {
  const ModelConfig config = config_of(options.model);
  check_training_steps(config, options.length, options.batch_size, options.repeats, options.warmup);
  require_flag(options.gate_interval >= 1, "--gate-interval", options.gate_interval, "1 or more");
  if (options.policy == "dense") {
    throw std::invalid_argument(
        "--policy dense: expected another, such as gate:ratio=0.1: dense is measured in any case");
  }
  std::optional<GateSet> gates;
  if (has_gates(options)) gates.emplace(make_gates(options.model, config));
  SparseAttention(config, options.policy, gates ? &*gates : nullptr);  // a policy that is none
}

FinetuneBenchResult run_finetune_bench(const FinetuneBenchOptions& options,
                                       const std::function<void()>& before_call,
                                       const std::function<void(const std::string&)>& say) {
  const c10::Device device = options.model.device;
  FinetuneBenchResult result;
  result.options = options;
  result.machine = describe_machine(device);
  say("reading the model");
  const ModelConfig config = config_of(options.model);
  const Checkpoint checkpoint = Checkpoint::open(options.model.folder);
  const RandomData data(config);
  reset_peak_memory(device);
  Training dense(options, config, checkpoint, data, "dense", false);
  Training sparse(options, config, checkpoint, data, options.policy, true);
  std::vector<Subject> subjects = {{"dense", [&] { dense.step(); }},
                                   {"sparse", [&] { sparse.step(); }}};
  std::optional<Training> learning;
  if (has_gates(options)) {
    learning.emplace(options, config, checkpoint, data, options.policy, false);
    subjects.push_back({"learning", [&] { learning->step(); }});
  }
  const std::vector<Samples> samples =
      time_steps(subjects, device, options.warmup, options.repeats, before_call, say);
  result.dense = samples[0];
  result.sparse = samples[1];
  result.density = sparse.density();
  result.sparse_speedup = median_ratio(result.dense, result.sparse);
  if (learning) {
    result.learning = samples[2];
    result.learning_speedup = median_ratio(result.dense, *result.learning);
    const double frozen = result.sparse.median();
    result.interval_speedup =
        result.dense.median() / (frozen + (result.learning->median() - frozen) /
                                              static_cast<double>(options.gate_interval));
  }
  result.peak_memory = peak_memory(device);
  return result;
}

std::string finetune_json_lines(const FinetuneBenchResult& result) {
  nlohmann::ordered_json line = {{"benchmark", "finetune"},
                                 {"seq", result.options.length},
                                 {"batch_size", result.options.batch_size},
                                 {"policy", result.options.policy},
                                 {"density", result.density},
                                 {"recompute", result.options.recompute},
                                 {"repeats", result.dense.seconds.size()},
                                 {"dense_seconds", seconds_json(result.dense)},
                                 {"dense_spread", spread(result.dense)},
                                 {"sparse_seconds", seconds_json(result.sparse)},
                                 {"sparse_spread", spread(result.sparse)},
                                 {"sparse_speedup", result.sparse_speedup}};
  if (result.learning) {
    line["learning_seconds"] = seconds_json(*result.learning);
    line["learning_spread"] = spread(*result.learning);
    line["learning_speedup"] = *result.learning_speedup;
    line["gate_interval"] = result.options.gate_interval;
    line["interval_speedup"] = *result.interval_speedup;
  }
  line["peak_memory_bytes"] = result.peak_memory;
  line["warmup"] = result.options.warmup;
  add_model_fields(result.options.model, result.machine, line);
  return line.dump() + "\n";
}

std::string finetune_table(const FinetuneBenchResult& result) {
  const FinetuneBenchOptions& options = result.options;
  std::string text = model_heading("Fine-tuning", options.model, result.machine);
  const auto write = std::back_inserter(text);
  const auto row = [&](const std::string& what, const Samples& samples, double speedup) {
    fmt::format_to(write, "{:<40} {:>9.4f} s ({:.4f} to {:.4f}) {:>6.2f}\n", what, samples.median(),
                   samples.min(), samples.max(), speedup);
  };
  fmt::format_to(write,
                 "A step of {} x {} tokens{}. Median (range), and how many times as fast as "
                 "dense.\n\n",
                 options.batch_size, options.length,
                 options.recompute ? ", layers recomputed" : "");
  row("dense", result.dense, 1);
  row(fmt::format("{}, density {:.3f}", options.policy, result.density), result.sparse,
      result.sparse_speedup);
  if (result.learning) {
    row("the same, gates learning beside", *result.learning, *result.learning_speedup);
    fmt::format_to(write, "{:<40} {:>43.2f}\n",
                   fmt::format("where they learn in one step of {}", options.gate_interval),
                   *result.interval_speedup);
  }
  fmt::format_to(write, "\npeak memory {:.2f} GB, of all together\n",
                 static_cast<double>(result.peak_memory) / 1e9);
  fmt::format_to(write, "{} rounds after {} of warm-up, in turn; random tokens.\n", options.repeats,
                 options.warmup);
  return text;
}

}  // namespace seer::bench
