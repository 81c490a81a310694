#include "cli/bench_models.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/model/distill_bench.h"
#include "bench/model/finetune_bench.h"
#include "bench/model/model_shapes.h"
#include "bench/model/prefill_bench.h"
#include "bench/model/prefill_report.h"
#include "bench/support/whole_file.h"
#include "cli/bench_results.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/policy_flags.h"
#include "seer/device.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

// What all of them ask for.
struct BenchFlags {
  bench::ModelSource source;
  std::string model, gates, device = "cpu", dtype, out;
  std::optional<int> threads;
  bool json = false;
};

void add_shape_flag(CLI::App& command, BenchFlags& flags) {
  std::string shapes;
  for (const std::string& name : bench::model_shape_names())
    shapes += (shapes.empty() ? "" : ", ") + name;
  command.add_option(
      "--shape", flags.source.shape,
      "In place of --model: a published model's shape with random weights: " + shapes);
}

void add_bench_flags(CLI::App& command, BenchFlags& flags, int& repeats, int& warmup) {
  const CLI::Validator integer = number<std::int64_t>("an integer");
  command.add_option("-m,--model", flags.model,
                     "Model folder in Hugging Face layout, or org/name of a model in the cache");
  command.add_option("--gates", flags.gates, "Adapter folder (default: gates with random weights)");
  command.add_option("--design", flags.source.design, "Of random gates; see docs/gates.md")
      ->capture_default_str();
  command
      .add_option("--block-size", flags.source.block_size,
                  "Tokens of a block: 16, 32, 64 or 128; with --gates theirs counts")
      ->capture_default_str()
      ->check(integer);
  add_device_flags(command, flags.device, flags.dtype);
  add_threads_flag(command, flags.threads);
  command.add_option("--repeats", repeats, "Timed rounds")->capture_default_str()->check(integer);
  command.add_option("--warmup", warmup, "Rounds before them")
      ->capture_default_str()
      ->check(integer);
  command.add_option("--seed", flags.source.seed, "Seed of random weights")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  command.add_flag("--json", flags.json, "JSON Lines on standard output and nothing else");
  command.add_option("--out", flags.out, "Write the JSON Lines to this file as well");
}

bench::ModelSource source_of(const BenchFlags& flags) {
  bench::ModelSource source = flags.source;
  source.device = device_of(flags.device);
  source.dtype = dtype_of(flags.dtype, source.device);
  require_device(source.device);
  set_threads(flags.threads);
  if (!flags.model.empty()) source.folder = resolve_model(flags.model);
  source.gates = flags.gates;
  return source;
}

// `run` is told what to do before a call and how to say a line of progress.
template <typename Options, typename Run, typename Lines, typename Table>
int run_bench(const BenchFlags& flags, const Options& options, void (*check)(const Options&),
              Run run, Lines json_lines, Table table) {
  check(options);
  if (!flags.out.empty()) bench::check_writable(flags.out);
  watch_for_interrupt();
  const auto result = run(options, throw_if_interrupted, say);
  return report_results(flags.out, flags.json, json_lines(result), table(result));
}

struct PrefillFlags {
  BenchFlags common;
  bench::PrefillBenchOptions options;
  std::vector<std::string> policies;
};

int bench_prefill(PrefillFlags flags) {
  flags.options.model = source_of(flags.common);
  if (!flags.policies.empty()) flags.options.policies = split_policies(flags.policies);
  return run_bench(flags.common, flags.options, bench::check_prefill_bench,
                   bench::run_prefill_bench, bench::prefill_json_lines, bench::prefill_table);
}

void add_prefill(CLI::App& verb, std::function<int()>& action) {
  CLI::App* command = verb.add_subcommand(
      "prefill", "Prefill of a whole model under policies against its own dense prefill");
  auto flags = std::make_shared<PrefillFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_shape_flag(*command, flags->common);
  add_bench_flags(*command, flags->common, flags->options.repeats, flags->options.warmup);
  command->add_option("--seq", flags->options.lengths, "Tokens of a prompt, with commas")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command
      ->add_option("--policy", flags->policies,
                   "gate:ratio=0.1, random:ratio=0.1, ...; several times, or with ';' between them "
                   "(default: gate:ratio=0.1). Dense is measured in any case")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command
      ->add_option("--prefill-chunk", flags->options.prefill_chunk,
                   "Tokens that run at once (default: as the device likes)")
      ->check(number<std::int64_t>("an integer"));
  command->callback([&action, flags] { action = [flags] { return bench_prefill(*flags); }; });
}

struct DistillFlags {
  BenchFlags common;
  bench::DistillBenchOptions options;
};

int bench_distill(DistillFlags flags) {
  flags.options.model = source_of(flags.common);
  return run_bench(flags.common, flags.options, bench::check_distill_bench,
                   bench::run_distill_bench, bench::distill_json_lines, bench::distill_table);
}

void add_distill_bench(CLI::App& verb, std::function<int()>& action) {
  CLI::App* command = verb.add_subcommand(
      "distill", "Steps of distillation against the model's dense forward pass");
  auto flags = std::make_shared<DistillFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_shape_flag(*command, flags->common);
  add_bench_flags(*command, flags->common, flags->options.repeats, flags->options.warmup);
  command->add_option("--seq", flags->options.length, "Tokens of a sequence")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command->add_option("--batch-size", flags->options.batch_size, "Sequences of a step")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command->callback([&action, flags] { action = [flags] { return bench_distill(*flags); }; });
}

struct FinetuneFlags {
  BenchFlags common;
  bench::FinetuneBenchOptions options;
};

int bench_finetune(FinetuneFlags flags) {
  if (flags.common.model.empty()) {
    throw std::invalid_argument(
        "--model is missing: expected a model folder in Hugging Face layout, from which training "
        "begins");
  }
  flags.options.model = source_of(flags.common);
  return run_bench(flags.common, flags.options, bench::check_finetune_bench,
                   bench::run_finetune_bench, bench::finetune_json_lines, bench::finetune_table);
}

void add_finetune_bench(CLI::App& verb, std::function<int()>& action) {
  const CLI::Validator integer = number<std::int64_t>("an integer");
  CLI::App* command = verb.add_subcommand(
      "finetune", "Steps of fine-tuning with sparse attention against steps with dense attention");
  auto flags = std::make_shared<FinetuneFlags>();
  bench::FinetuneBenchOptions& options = flags->options;
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_bench_flags(*command, flags->common, options.repeats, options.warmup);
  const auto whole = [&](const char* name, std::int64_t& value, const char* help) {
    command->add_option(name, value, help)->capture_default_str()->check(integer);
  };
  whole("--seq", options.length, "Tokens of a sequence");
  whole("--batch-size", options.batch_size, "Sequences of a step");
  command->add_option("--policy", options.policy, "Which blocks the layers attend to")
      ->capture_default_str();
  whole("--gate-interval", options.gate_interval,
        "Steps from one in which gates learn to the next, of the last line's speed");
  command->add_flag("!--no-recompute", options.recompute, "Keep all activations");
  command->callback([&action, flags] { action = [flags] { return bench_finetune(*flags); }; });
}

}  // namespace

void add_bench_models(CLI::App& bench, std::function<int()>& action) {
  add_prefill(bench, action);
  add_distill_bench(bench, action);
  add_finetune_bench(bench, action);
}

}  // namespace seer::cli
