#include "cli/finetune.h"

#include "seer/finetune.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/progress_line.h"
#include "cli/text_flags.h"
#include "cli/training_run.h"
#include "seer/device.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

namespace fs = std::filesystem;

struct FinetuneFlags {
  std::string model, device = "cpu", dtype, attention = "seer";
  std::optional<int> threads;
  TextSource text, held_out;
  FinetuneOptions options;
  PackedDataOptions data = {.retrieval_share = 0};
  std::string gates, design = "Qavg16_Kmaxminavg", init = "identity";
  std::optional<std::int64_t> gate_interval;
  std::optional<double> gate_learning_rate;
  std::int64_t block_size = 64;
  std::string rope_scaling, schedule = "linear", gate_loss = "kl";
  std::optional<std::int64_t> context;
  std::string out, log;
  bool resume = false, dry_run = false, json = false;
};

// The gates that the policy needs, or none.
std::optional<GateSet> gates_of(const FinetuneFlags& flags, const ModelConfig& model,
                                const ModelConfig& extended) {
  const bool needs_gates = flags.options.policy.starts_with("gate");
  if (!needs_gates) {
    if (flags.gates.empty()) return std::nullopt;
    throw std::invalid_argument("--gates: the policy '" + flags.options.policy +
                                "' uses none: expected a policy of gates, such as gate:ratio=0.5, "
                                "or no --gates");
  }
  if (!flags.gates.empty()) return adapt_gates(flags.gates, model, extended);
  if (flags.options.freeze_gates) {
    throw std::invalid_argument(
        "--freeze-gates: there are no trained gates: name an adapter's folder with --gates");
  }
  GateSet fresh(default_gate_config(flags.design, extended, flags.block_size), extended);
  fresh.initialise(parse_gate_init(flags.init), flags.data.seed);
  return fresh;
}

// One line a report, over the last one on a terminal.
class Progress {
 public:
  explicit Progress(const FinetuneOptions& options) : options_(options) {}

  void report(const FinetuneProgress& step) {
    const double tokens = static_cast<double>(options_.sequences_of_a_step() * options_.context);
    seconds_ = seconds_ == 0 ? step.seconds : 0.8 * seconds_ + 0.2 * step.seconds;
    if (step.held_out_loss) held_out_ = step.held_out_loss;
    char held_out[48] = "";
    if (held_out_) std::snprintf(held_out, sizeof held_out, "  held out %.4f", *held_out_);
    char text[200];
    std::snprintf(text, sizeof text,
                  "seer: step %lld/%lld  loss %.4f%s  density %.3f  %.0f tokens/s  %s left",
                  static_cast<long long>(step.step), static_cast<long long>(options_.steps),
                  step.loss, held_out, step.density, tokens / seconds_,
                  time_text(seconds_ * static_cast<double>(options_.steps - step.step)).c_str());
    line_.show(text);
  }
  void finish() { line_.end(); }

 private:
  const FinetuneOptions& options_;
  ProgressLine line_;
  double seconds_ = 0;
  std::optional<double> held_out_;
};

// False after Ctrl-C; the steps so far are in the checkpoint.
bool train(Finetuner& finetuner, const FinetuneFlags& flags, const ProcessGroup& group,
           std::ofstream& log) {
  Progress progress(flags.options);
  const std::string checkpoint = checkpoint_of(flags.out);
  std::int64_t saved = finetuner.step();
  const auto take = [&](const std::vector<FinetuneProgress>& steps) {
    if (!group.is_first()) return;
    for (const FinetuneProgress& step : steps) {
      log << step.to_json() << '\n';
      if (flags.json) std::cout << step.to_json() << '\n';
    }
    if (steps.empty()) return;
    log << std::flush;
    if (!log)
      throw std::runtime_error(flags.log + ": the log cannot be written (is the disk full?)");
    std::cout << std::flush;
    progress.report(steps.back());
  };
  const auto save = [&] {
    if (finetuner.step() == saved) return;
    take(finetuner.finish());
    finetuner.save_checkpoint(checkpoint);
    saved = finetuner.step();
  };
  while (!finetuner.is_done()) {
    if (group.any(interrupted())) {
      progress.finish();
      save();
      return false;
    }
    take(finetuner.run_step());
    if (finetuner.step() % flags.options.checkpoint_interval == 0) save();
  }
  progress.finish();
  save();
  return true;
}

std::string training_record(const FinetuneFlags& flags, const TrainingData& data,
                            std::int64_t tokens) {
  nlohmann::ordered_json record = nlohmann::ordered_json::parse(settings_json(flags.options));
  record["verb"] = "finetune";
  if (!flags.rope_scaling.empty()) record["rope_scaling"] = flags.rope_scaling;
  record["data"] = data.fingerprint();
  record["tokens"] = tokens;
  return record.dump();
}

void complete(FinetuneFlags& flags, const ProcessGroup& group) {
  flags.device = device_in_group(flags.device, group);
  flags.options.gradient_accumulation *= group.size();
  flags.options.seed = flags.data.seed;
  flags.options.schedule = parse_schedule(flags.schedule);
  flags.options.gate_loss.loss = parse_distill_loss(flags.gate_loss);
  flags.options.attention = attention_of(flags.attention);
  // Trained gates follow the model; new ones have all to learn. See docs/finetune.md for what was measured.
  const bool are_trained = !flags.gates.empty();
  flags.options.gate_interval = flags.gate_interval.value_or(are_trained ? 8 : 1);
  flags.options.gate_learning_rate = flags.gate_learning_rate.value_or(are_trained ? 1e-4 : 1e-3);
  if (flags.out.empty())
    throw std::invalid_argument("--out is missing: expected a folder for the trained model");
  if (flags.log.empty()) flags.log = fs::path(flags.out).lexically_normal().string() + ".log.jsonl";
  dtype_of(flags.dtype, device_of(flags.device));
}

int finetune(FinetuneFlags flags, const ProcessGroup& group) {
  complete(flags, group);
  std::optional<RopeScaling> scaling;
  if (!flags.rope_scaling.empty()) scaling = parse_rope_scaling(flags.rope_scaling);
  const fs::path folder = resolve_model(flags.model);
  const ModelConfig before = read_model_config(folder);
  ModelConfig model = scaling ? scale_rope(before, *scaling) : before;
  model.name = fs::path(flags.out).lexically_normal().filename().string();
  flags.options.context = flags.context.value_or(model.max_positions);
  flags.options.check();
  if (flags.options.context > model.max_positions) {
    throw std::invalid_argument("--context " + std::to_string(flags.options.context) +
                                ": expected at most " + std::to_string(model.max_positions) +
                                ", the positions of the model" +
                                (scaling ? " as scaled" : "; --rope-scaling gives it more"));
  }
  const c10::Device device = device_of(flags.device);
  const at::ScalarType dtype = dtype_of(flags.dtype, device);
  std::optional<GateSet> gates = gates_of(flags, before, model);
  if (flags.dry_run) {
    if (group.is_first()) {
      std::cout << finetune_plan_text(model, gates ? &*gates : nullptr, flags.options, dtype,
                                      device)
                << std::flush;
    }
    return kExitDone;
  }
  if (flags.text.paths.empty()) {
    throw std::invalid_argument(
        "--text is missing: expected files or folders with text to train on");
  }
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const TokenId start = document_start(model);
  const auto data =
      make_packed_data(load_text(flags.text, tokenizer, model), tokenizer, start, flags.data);
  std::unique_ptr<TrainingData> held_out;
  if (!flags.held_out.paths.empty()) {
    flags.held_out.json_field = flags.text.json_field;
    held_out = make_packed_data(load_text(flags.held_out, tokenizer, model), tokenizer, start,
                                {.retrieval_share = 0});
    try {
      held_out->sequence(0, flags.options.context);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(std::string("--held-out: ") + error.what());
    }
  }
  data->sequence(0, flags.options.context);  // before hours of work: the text suffices
  check_model_output(flags.out);
  if (!flags.resume) require_no_checkpoint(checkpoint_of(flags.out));

  set_threads(flags.threads);
  require_device(device);
  if (gates) gates->to(device);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  Finetuner finetuner(model, checkpoint, gates ? &*gates : nullptr, *data, held_out.get(),
                      flags.options, dtype, device, group);
  if (flags.resume) finetuner.resume(checkpoint_of(flags.out));
  std::ofstream log;
  begin_in_group(group, device);
  if (group.is_first()) open_log(flags.log, finetuner.step(), log);
  // Before hours of work: the folder can be written.
  if (!flags.resume && !finetuner.is_done()) finetuner.save_checkpoint(checkpoint_of(flags.out));
  if (!train(finetuner, flags, group, log)) return stopped(finetuner.step(), group);
  if (!group.is_first()) return kExitDone;
  if (gates && !flags.options.freeze_gates)
    gates->set_training(training_record(flags, *data, finetuner.tokens()));
  finetuner.write_model(folder, scaling, flags.out);
  std::error_code ignored;  // what is left of it costs space and nothing else
  fs::remove_all(checkpoint_of(flags.out), ignored);
  std::fprintf(stderr, "seer: model in %s%s\n", flags.out.c_str(),
               gates ? ", its gates in the folder gates inside; for policies of density run 'seer "
                       "calibrate' with them"
                     : "");
  return kExitDone;
}

void add_training_flags(CLI::App& command, FinetuneFlags& flags) {
  const CLI::Validator integer = number<std::int64_t>("an integer");
  const CLI::Validator real = number<double>("a number");
  const auto whole = [&](const char* name, std::int64_t& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->check(integer);
  };
  const auto decimal = [&](const char* name, double& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->check(real);
  };
  FinetuneOptions& options = flags.options;
  command
      .add_option("--context", flags.context,
                  "Tokens of a training sequence (default: all positions of the model)")
      ->check(integer);
  whole("--steps", options.steps, "Updates");
  whole("--batch-size", options.batch_size, "Sequences that run together");
  whole("--gradient-accumulation", options.gradient_accumulation,
        "Such batches whose gradients make one update (of each process under torchrun)");
  decimal("--learning-rate", options.learning_rate, "Highest learning rate");
  decimal("--final-learning-rate", options.final_learning_rate, "Where the schedule ends");
  command.add_option("--schedule", flags.schedule, "linear or cosine")->capture_default_str();
  whole("--warmup-steps", options.warmup_steps, "Updates of linear warm-up");
  decimal("--weight-decay", options.weight_decay, "Of AdamW, of matrices");
  decimal("--beta1", options.beta1, "Of AdamW");
  decimal("--beta2", options.beta2, "Of AdamW");
  decimal("--epsilon", options.epsilon, "Of AdamW");
  decimal("--clip-norm", options.clip_norm,
          "Largest norm of the model's gradient, and of the gates' (0: any)");
  command.add_flag("!--no-recompute", options.recompute,
                   "Keep all activations: faster, and takes far more memory");
  decimal("--retrieval-share", flags.data.retrieval_share,
          "Share of the sequences that are generated retrieval documents over the text");
  whole("--questions", flags.data.questions, "Questions of a retrieval document of 8,192 tokens");
  command.add_option("--seed", flags.data.seed, "Of initial gates and data order")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  whole("--eval-interval", options.eval_interval, "Steps between losses on --held-out (0: none)");
  whole("--eval-sequences", options.eval_sequences, "Sequences of --held-out that are measured");
  whole("--checkpoint-interval", options.checkpoint_interval, "Steps between checkpoints");
  whole("--log-interval", options.log_interval, "Steps between reports, on a GPU");
}

void add_gate_flags(CLI::App& command, FinetuneFlags& flags) {
  const CLI::Validator real = number<double>("a number");
  FinetuneOptions& options = flags.options;
  command
      .add_option("--policy", options.policy,
                  "Which blocks the layers attend to, forward and backward: gate:ratio=0.5, dense, "
                  "... (see seer generate)")
      ->capture_default_str();
  command.add_option("--gates", flags.gates,
                     "Adapter folder to begin from, of this model before or after its positions "
                     "are scaled (default: new gates)");
  command.add_flag("--freeze-gates", options.freeze_gates,
                   "Gates stay as they are: no teacher's map is computed");
  command
      .add_option("--gate-interval", flags.gate_interval,
                  "Steps from one in which the gates learn to the next: learning costs what dense "
                  "attention costs (default: 8 for those of --gates, 1 for new ones)")
      ->check(number<std::int64_t>("an integer"));
  command
      .add_option("--gate-learning-rate", flags.gate_learning_rate,
                  "Highest learning rate of the gates, on the same schedule (default: 1e-4 for "
                  "those of --gates, 1e-3 for new ones)")
      ->check(real);
  command
      .add_option("--gate-loss-scale", options.gate_loss_scale,
                  "Factor of the sum of the layers' gate losses")
      ->capture_default_str()
      ->check(real);
  command.add_option("--gate-loss", flags.gate_loss, "kl, mse or smooth-l1")->capture_default_str();
  command
      .add_option("--target-power", options.gate_loss.target_power,
                  "Power of the teacher's map (1: as published)")
      ->capture_default_str()
      ->check(real);
  command.add_option("--design", flags.design, "Of new gates; see docs/gates.md")
      ->capture_default_str();
  command.add_option("--block-size", flags.block_size, "Of new gates: 16, 32, 64 or 128")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command.add_option("--init", flags.init, "Of new gates: identity, normal or xavier")
      ->capture_default_str();
}

}  // namespace

void add_finetune(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "finetune", "Train a model with sparse attention, also to a longer context");
  auto flags = std::make_shared<FinetuneFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_option(*command, flags->model);
  add_device_flags(*command, flags->device, flags->dtype);
  command
      ->add_option("--attention", flags->attention,
                   "Of the policy dense: seer (the project's operator) or sdpa (LibTorch's)")
      ->capture_default_str();
  add_threads_flag(*command, flags->threads);
  add_text_flags(*command, flags->text, /*required=*/false);
  command
      ->add_option("--held-out", flags->held_out.paths,
                   "Text as --text, whose loss is measured on the way")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--rope-scaling", flags->rope_scaling,
                      "How positions are scaled: yarn:4, linear:4 or llama3:8, with the factor");
  command->add_option("--out", flags->out, "Folder for the trained model");
  command->add_option("--log", flags->log, "JSON Lines file of the steps (default: OUT.log.jsonl)");
  command->add_option("--recipe",
                      "TOML file with any of these flags; flags given here override it");
  command->add_flag("--resume", flags->resume, "Go on from the last checkpoint (OUT.checkpoint)");
  command->add_flag("--dry-run", flags->dry_run,
                    "Print the settings with tokens, memory and time, and do nothing");
  add_gate_flags(*command, *flags);
  add_training_flags(*command, *flags);
  command->add_flag("--json", flags->json, "The steps as JSON Lines on standard output");
  command->callback([&action, flags] {
    action = [flags] {
      return run_in_group([&](const ProcessGroup& group) { return finetune(*flags, group); });
    };
  });
}

}  // namespace seer::cli
