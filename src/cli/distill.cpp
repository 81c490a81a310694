#include "cli/distill.h"

#include "seer/distill.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>

#include "cli/calibration_flags.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/progress_line.h"
#include "cli/text_flags.h"
#include "cli/training_run.h"
#include "seer/distill_plan.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

namespace fs = std::filesystem;

struct DistillFlags {
  ModelFlags model;
  TextSource text;
  CalibrationFlags calibration;
  DistillOptions options;
  PackedDataOptions data;
  std::string design = "Qavg16_Kmaxminavg";
  std::string init = "identity";
  std::string loss = "kl";
  std::string context = lengths_text(DistillOptions());
  std::optional<std::int64_t> steps;
  std::string out, log;
  std::int64_t block_size = 64;
  std::int64_t width = 0;
  bool use_rope = true, qk_norm = false, force_double = false;
  bool resume = false, dry_run = false, json = false;
};

GateConfig gate_config_of(const DistillFlags& flags, const ModelConfig& model) {
  GateConfig config =
      default_gate_config(flags.design, model, flags.block_size, flags.width, flags.force_double);
  config.use_rope = flags.use_rope;
  config.qk_norm = flags.qk_norm;
  check_gate_config(config, model);
  return config;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<std::size_t>(1, values.size()));
}

// One line a step, over the last one on a terminal.
class Progress {
 public:
  Progress(const DistillOptions& options, std::int64_t tokens_before)
      : options_(options), tokens_before_(tokens_before) {}

  void report(const DistillProgress& step) {
    // Means of the last few steps; the first of a run also waits for memory.
    const auto tokens = static_cast<double>(step.tokens - tokens_before_);
    tokens_before_ = step.tokens;
    seconds_ = seconds_ == 0 ? step.seconds : 0.8 * seconds_ + 0.2 * step.seconds;
    tokens_ = tokens_ == 0 ? tokens : 0.8 * tokens_ + 0.2 * tokens;
    const double left = seconds_ * static_cast<double>(options_.steps - step.step);
    char text[160];
    std::snprintf(text, sizeof text,
                  "seer: step %lld/%lld  loss %.4f  recall %.3f  %.0f tokens/s  %s left",
                  static_cast<long long>(step.step), static_cast<long long>(options_.steps),
                  step.loss, mean(step.layer_recall), tokens_ / seconds_, time_text(left).c_str());
    line_.show(text);
  }
  void finish() { line_.end(); }

 private:
  const DistillOptions& options_;
  ProgressLine line_;
  std::int64_t tokens_before_;
  double seconds_ = 0, tokens_ = 0;
};

std::string training_record(const DistillFlags& flags, const TrainingData& data,
                            const std::optional<DistillProgress>& last) {
  nlohmann::ordered_json record = nlohmann::ordered_json::parse(settings_json(flags.options));
  record["init"] = flags.init;
  record["data"] = data.fingerprint();
  record["retrieval_share"] = flags.data.retrieval_share;
  record["questions"] = flags.data.questions;
  record["seed"] = flags.data.seed;
  if (last) {
    record["tokens"] = last->tokens;
    record["last_loss"] = last->loss;
    record["last_recall"] = mean(last->layer_recall);
  }
  return record.dump();
}

// False after Ctrl-C; the steps so far are in the checkpoint.
bool train(Distiller& distiller, const DistillFlags& flags, const ProcessGroup& group,
           std::ofstream& log, std::optional<DistillProgress>& last) {
  Progress progress(flags.options, distiller.tokens());
  const std::string checkpoint = checkpoint_of(flags.out);
  std::int64_t saved = distiller.step();
  const auto save = [&] {
    if (distiller.step() == saved) return;
    distiller.save_checkpoint(checkpoint);
    saved = distiller.step();
  };
  while (!distiller.is_done()) {
    if (group.any(interrupted())) {
      progress.finish();
      save();
      return false;
    }
    last = distiller.run_step();
    if (group.is_first()) {
      log << last->to_json() << std::endl;
      if (!log)
        throw std::runtime_error(flags.log + ": the log cannot be written (is the disk full?)");
      if (flags.json) std::cout << last->to_json() << std::endl;
      progress.report(*last);
    }
    if (distiller.step() % flags.options.checkpoint_interval == 0) save();
  }
  progress.finish();
  save();
  return true;
}

CalibrationTable calibrate(const Model& model, const GateSet& gates, const TrainingData& held_out,
                           CalibrationOptions options) {
  options.on_progress = [](std::int64_t done, std::int64_t total) {
    throw_if_interrupted();
    std::fprintf(stderr, "seer: calibration, sequence %lld of %lld\n", static_cast<long long>(done),
                 static_cast<long long>(total));
  };
  return calibrate_gates(model, gates, held_out, options);
}

// Of several lengths a round, unless the user says more or less.
void set_sequences(DistillFlags& flags) {
  DistillOptions& options = flags.options;
  parse_lengths(flags.context, options);
  if (flags.steps) {
    options.steps = *flags.steps;
  } else if (!options.lengths.empty()) {
    std::int64_t sequences = 0;
    for (const LengthCount& each : options.lengths) sequences += each.sequences;
    const std::int64_t batch = std::max<std::int64_t>(options.batch_size, 1);
    options.steps = (sequences + batch - 1) / batch;
  }
}

int distill(DistillFlags flags, const ProcessGroup& group) {
  flags.model.device = device_in_group(flags.model.device, group);
  flags.options.batch_size *= group.size();
  set_sequences(flags);
  flags.options.seed = flags.data.seed;
  flags.options.loss = parse_distill_loss(flags.loss);
  flags.options.check();
  const GateInit init = parse_gate_init(flags.init);
  if (flags.out.empty())
    throw std::invalid_argument("--out is missing: expected a folder for the adapter");
  if (flags.log.empty()) flags.log = fs::path(flags.out).lexically_normal().string() + ".log.jsonl";
  check_model_flags(flags.model);
  const fs::path folder = resolve_model(flags.model.model);
  const ModelConfig config = read_model_config(folder);
  GateSet gates(gate_config_of(flags, config), config);

  if (flags.dry_run) {
    if (!group.is_first()) return kExitDone;
    const c10::Device device = device_of(flags.model.device);
    std::cout << distill_plan_text(
                     config, gates, flags.options,
                     at::TensorOptions(dtype_of(flags.model.dtype, device)).device(device))
              << std::flush;
    return kExitDone;
  }
  if (flags.text.paths.empty()) {
    throw std::invalid_argument(
        "--text is missing: expected files or folders with text to train on");
  }
  const Tokenizer tokenizer = Tokenizer::load(folder);
  auto [train_stream, held_out_stream] =
      split_stream(load_text(flags.text, tokenizer, config), flags.options.longest_sequence());
  const auto held_out_tokens = static_cast<std::int64_t>(held_out_stream.tokens.size());
  const TokenId start = document_start(config);
  const CalibrationOptions calibration = calibration_options(
      flags.calibration, config, flags.options.longest_sequence(), held_out_tokens);
  const auto data = make_packed_data(std::move(train_stream), tokenizer, start, flags.data);
  const auto held_out = make_packed_data(std::move(held_out_stream), tokenizer, start,
                                         {.retrieval_share = 0, .seed = flags.data.seed});
  // Before hours of work: the text suffices.
  data->sequence(0, flags.options.longest_sequence());
  for (const std::int64_t length : calibration.lengths) held_out->sequence(0, length);

  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Model model = load_model(flags.model, config, checkpoint, flags.options.stream_layers);
  gates.initialise(init, flags.data.seed);
  gates.to(model.options().device);
  std::optional<DistillProgress> last;
  {
    Distiller distiller(model, gates, *data, flags.options, group);
    if (flags.resume) {
      distiller.resume(checkpoint_of(flags.out));
    } else {
      require_no_checkpoint(checkpoint_of(flags.out));
    }
    std::ofstream log;
    begin_in_group(group, model.options().device);
    if (group.is_first()) open_log(flags.log, distiller.step(), log);
    // Before hours of work: the folder can be written.
    if (!flags.resume) distiller.save_checkpoint(checkpoint_of(flags.out));
    if (!train(distiller, flags, group, log, last)) return stopped(distiller.step(), group);
  }
  if (!group.is_first()) return kExitDone;
  gates.set_training(training_record(flags, *data, last));
  try {
    gates.set_calibration(calibrate(model, gates, *held_out, calibration));
  } catch (const Interrupted&) {
    return stopped(flags.options.steps, group);
  }
  gates.save(flags.out);
  std::error_code ignored;  // what is left of it costs space and nothing else
  fs::remove_all(checkpoint_of(flags.out), ignored);
  std::fprintf(stderr, "seer: adapter in %s\n", flags.out.c_str());
  return kExitDone;
}

void add_training_flags(CLI::App& command, DistillFlags& flags) {
  const CLI::Validator integer = number<std::int64_t>("an integer");
  const CLI::Validator real = number<double>("a number");
  const auto whole = [&](const char* name, std::int64_t& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->check(integer);
  };
  const auto decimal = [&](const char* name, double& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->check(real);
  };
  DistillOptions& options = flags.options;
  command
      .add_option("--context", flags.context,
                  "Tokens of a training sequence; or lengths and how many sequences of each make a "
                  "round, as 8192:126,16384:14,32768:7")
      ->capture_default_str();
  command
      .add_option("--steps", flags.steps,
                  "Steps, each over --batch-size new sequences (default: " +
                      std::to_string(options.steps) + ", or a round of several lengths)")
      ->check(integer);
  whole("--batch-size", options.batch_size,
        "Sequences whose gradients make one update (of each process under torchrun)");
  whole("--replay", options.replay,
        "Further updates in each step, on kept maps of earlier sequences");
  whole("--replay-sequences", options.replay_sequences,
        "How many of the last sequences are kept for --replay");
  decimal("--learning-rate", options.learning_rate, "Highest learning rate");
  decimal("--final-learning-rate", options.final_learning_rate, "Where the cosine ends");
  whole("--warmup-steps", options.warmup_steps, "Updates of linear warm-up");
  decimal("--weight-decay", options.weight_decay, "Of AdamW");
  decimal("--beta1", options.beta1, "Of AdamW");
  decimal("--beta2", options.beta2, "Of AdamW");
  decimal("--epsilon", options.epsilon, "Of AdamW");
  decimal("--clip-norm", options.clip_norm, "Largest norm of the gradient (0: any)");
  command.add_option("--loss", flags.loss, "kl, mse or smooth-l1")->capture_default_str();
  decimal("--loss-scale", options.loss_scale, "Factor of the loss");
  decimal("--target-power", options.target_power, "Power of the teacher's map (1: as published)");
  decimal("--row-slice", options.row_slice, "Share of a map's first rows that is left out");
  decimal("--retrieval-share", flags.data.retrieval_share,
          "Share of the sequences that are generated retrieval documents over the text");
  whole("--questions", flags.data.questions, "Questions of a retrieval document of 8,192 tokens");
  command.add_option("--seed", flags.data.seed, "Of initial weights and data order")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  whole("--checkpoint-interval", options.checkpoint_interval, "Steps between checkpoints");
  command.add_flag("--stream-layers", options.stream_layers,
                   "Keep the weights of one layer in memory at a time");
}

void add_design_flags(CLI::App& command, DistillFlags& flags) {
  command
      .add_option("--design", flags.design, "Of the gates, as Qavg16_Kmaxminavg; see docs/gates.md")
      ->capture_default_str();
  command.add_option("--block-size", flags.block_size, "Tokens of a block: 16, 32, 64 or 128")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command
      .add_option("--width", flags.width, "Of a gate's representatives (0: the model's head_dim)")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command.add_option("--init", flags.init, "identity, normal or xavier")->capture_default_str();
  command.add_flag("--qk-norm", flags.qk_norm, "RMSNorm on representatives");
  command.add_flag("!--no-rope", flags.use_rope, "No RoPE on representatives");
  command.add_flag("--force-double", flags.force_double, "Maps on queries and keys both");
}

}  // namespace

void add_distill(CLI::App& app, std::function<int()>& action) {
  CLI::App* command =
      app.add_subcommand("distill", "Train gates for a model on its own attention maps");
  auto flags = std::make_shared<DistillFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_flags(*command, flags->model);
  add_text_flags(*command, flags->text, /*required=*/false);
  command->add_option("--out", flags->out, "Folder for the adapter");
  command->add_option("--log", flags->log, "JSON Lines file of the steps (default: OUT.log.jsonl)");
  command->add_option("--recipe",
                      "TOML file with any of these flags; flags given here override it");
  command->add_flag("--resume", flags->resume, "Go on from the last checkpoint (OUT.checkpoint)");
  command->add_flag("--dry-run", flags->dry_run,
                    "Print the settings with tokens, memory and time, and do nothing");
  add_design_flags(*command, *flags);
  add_training_flags(*command, *flags);
  add_calibration_flags(*command, flags->calibration);
  command->add_flag("--json", flags->json, "The steps as JSON Lines on standard output");
  command->callback([&action, flags] {
    action = [flags] {
      return run_in_group([&](const ProcessGroup& group) { return distill(*flags, group); });
    };
  });
}

}  // namespace seer::cli
