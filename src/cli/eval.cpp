#include "cli/eval.h"

#include "seer/eval.h"

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/support/machine.h"
#include "cli/eval_ruler.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/policy_flags.h"
#include "cli/progress_line.h"
#include "cli/text_flags.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

struct EvalFlags {
  ModelFlags model;
  TextSource text;
  std::string gates, out;
  std::vector<std::string> policies;
  bool no_recall = false, resume = false, json = false;
  EvalOptions options;
};

EvalOrigin describe_origin() {
  const bench::Machine machine = bench::describe_machine();
  return {.version = SEER_VERSION,
          .commit = machine.commit,
          .cpu = machine.cpu,
          .isa = machine.isa,
          .torch = machine.torch,
          .threads = machine.threads,
          .started = machine.date};
}

class Progress {
 public:
  void show(const EvalProgress& now) {
    std::string text =
        "seer: " + std::to_string(now.done) + " of " + std::to_string(now.total) + " samples";
    if (now.done < now.total && now.seconds_left > 0) {
      const auto left = static_cast<std::int64_t>(now.seconds_left + 0.5);
      text += ", " + std::to_string(left / 60) + " min " + std::to_string(left % 60) + " s left";
    }
    line_.show(std::move(text));
  }

  void end() { line_.end(); }

 private:
  ProgressLine line_;
};

int eval(EvalFlags flags) {
  EvalOptions& options = flags.options;
  if (!flags.policies.empty()) options.policies = split_policies(flags.policies);
  if (flags.resume && flags.out.empty()) {
    throw std::invalid_argument("eval --resume: expected --out, the file to go on with");
  }
  options.measure_recall = !flags.no_recall || options.task == EvalTask::kRecall;
  options.prefill_chunk = flags.model.prefill_chunk;

  check_model_flags(flags.model);
  const std::filesystem::path folder = resolve_model(flags.model.model);
  const ModelConfig config = read_model_config(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder);
  TokenStream text = load_text(flags.text, tokenizer, config);
  std::optional<GateSet> gates;
  if (!flags.gates.empty()) {
    gates.emplace(GateSet::load(flags.gates, config));
    gates->to(device_of(flags.model.device));
  }
  const Model model = load_model(flags.model, config, Checkpoint::open(folder));
  Evaluator evaluator(model, &tokenizer, std::move(text), gates ? &*gates : nullptr,
                      gates ? gates_label(*gates, flags.gates) : "", options, describe_origin());
  std::optional<EvalFile> file;
  std::vector<EvalSample> samples;
  if (!flags.out.empty()) {
    file.emplace(flags.out, flags.resume, options.task, evaluator.configuration());
    samples = file->samples();
  }

  Progress progress;
  EvalCallbacks callbacks;
  callbacks.between_chunks = throw_if_interrupted;
  callbacks.on_progress = [&](const EvalProgress& now) { progress.show(now); };
  callbacks.on_sample = [&](const EvalSample& sample) {
    if (file) file->append(sample);
    samples.push_back(sample);
    if (flags.json) std::cout << sample.to_json() << std::endl;
    if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  };
  watch_for_interrupt();
  int code = kExitDone;
  try {
    // A copy: samples grow meanwhile.
    evaluator.run(std::vector<EvalSample>(samples), callbacks);
  } catch (const Interrupted&) {
    code = kExitInterrupted;
  }
  progress.end();
  if (!flags.json) std::cout << eval_table(summarise(samples)) << std::flush;
  if (code == kExitInterrupted) {
    std::cerr << "seer: interrupted; "
              << (file ? flags.out + " keeps what was done: the same command with --resume goes on"
                       : "without --out nothing is kept")
              << std::endl;
  }
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return code;
}

void add_task(CLI::App& eval_command, std::function<int()>& action, EvalTask task,
              const char* description) {
  CLI::App* command = eval_command.add_subcommand(std::string(eval_task_name(task)), description);
  auto flags = std::make_shared<EvalFlags>();
  const bool is_retrieval = task == EvalTask::kRetrieval;
  flags->options.task = task;
  flags->options.samples = is_retrieval ? 25 : 8;
  const CLI::Validator integer = number<std::int64_t>("an integer");
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_flags(*command, flags->model);
  add_text_flags(*command, flags->text);
  command->add_option("--gates", flags->gates, "Adapter folder with trained gates");
  command
      ->add_option("--policy", flags->policies,
                   "Which blocks prefill computes: dense, or gate, oracle, meanpool, streaming, "
                   "random, quest, xattention, minference or flexprefill with a rule, as in "
                   "gate:density=0.1; several times, or with ';' between them (default: dense)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--context", flags->options.contexts, "Tokens of a sample, with commas")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(integer);
  command
      ->add_option(is_retrieval ? "--samples" : "--windows", flags->options.samples,
                   is_retrieval ? "Documents of each context" : "Windows of text of each context")
      ->capture_default_str()
      ->check(integer);
  if (is_retrieval) {
    command
        ->add_option("--needles", flags->options.needles, "Sentences with a number in a document")
        ->capture_default_str()
        ->check(integer);
  }
  if (task != EvalTask::kRecall) {
    command->add_flag("--no-recall", flags->no_recall,
                      "Leave out the share of attention that a policy keeps");
  }
  command
      ->add_option("--min-context", flags->options.min_context,
                   "Samples of fewer tokens are computed densely")
      ->capture_default_str()
      ->check(integer);
  command
      ->add_option("--block-size", flags->options.block_size,
                   "Tokens of a block, for policies without gates")
      ->capture_default_str()
      ->check(integer);
  command
      ->add_option("--seed", flags->options.seed, "Of documents, of recall's rows, of random:...")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  command->add_option("--out", flags->out,
                      "Result file: each sample is added as soon as it is done");
  command->add_flag("--resume", flags->resume, "Go on with --out: samples in it are not repeated");
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  command->callback([&action, flags] { action = [flags] { return eval(*flags); }; });
}

}  // namespace

void add_eval(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "eval", "Perplexity, retrieval and attention recall under policies, with density and time");
  command->require_subcommand(1);
  add_task(*command, action, EvalTask::kPerplexity, "Perplexity of text");
  add_task(*command, action, EvalTask::kRetrieval,
           "Retrieval: numbers that a long text states, asked for at its end");
  add_task(*command, action, EvalTask::kRecall,
           "Share of the true attention that falls into the blocks a policy keeps");
  add_eval_ruler(*command, action);
}

}  // namespace seer::cli
