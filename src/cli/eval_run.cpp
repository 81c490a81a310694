#include "cli/eval_run.h"

#include <iostream>
#include <stdexcept>
#include <utility>

#include "bench/support/machine.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/policy_flags.h"
#include "cli/progress_line.h"
#include "cli/text_flags.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

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

// A job's task says what is wrong with its own flags; which job it is stands in front.
std::vector<EvalRequest> make_requests(const std::vector<EvalJob>& jobs, const EvalTaskData& data) {
  std::vector<EvalRequest> requests;
  for (const EvalJob& job : jobs) {
    try {
      for (auto& task : job.kind->make(data)) {
        requests.push_back({.task = std::move(task), .contexts = job.contexts});
      }
    } catch (const std::invalid_argument& error) {
      if (job.name.empty()) throw;
      throw std::invalid_argument(job.name + ": " + error.what());
    }
  }
  return requests;
}

}  // namespace

void add_eval_run_flags(CLI::App& command, EvalRunFlags& flags, bool needs_text) {
  add_model_flags(command, flags.model);
  add_text_flags(command, flags.text, needs_text);
  command.add_option("--gates", flags.gates, "Adapter folder with trained gates");
  command
      .add_option("--policy", flags.policies,
                  "Which blocks prefill computes: dense, or gate, oracle, meanpool, streaming, "
                  "random, quest, xattention, minference or flexprefill with a rule, as in "
                  "gate:density=0.1; several times, or with ';' between them (default: dense)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  add_integer(command, "--min-context", flags.options.min_context,
              "Samples of fewer tokens are computed densely");
  add_integer(command, "--block-size", flags.options.block_size,
              "Tokens of a block, for policies without gates");
  command.add_option("--seed", flags.options.seed, "Of documents, of recall's rows, of random:...")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
}

EvalInput::EvalInput(const EvalRunFlags& flags)
    : folder_(resolve_model(flags.model.model)),
      config_(read_model_config(folder_)),
      tokenizer_(Tokenizer::load(folder_)),
      seed_(flags.options.seed) {
  if (flags.text.paths.empty()) return;
  text_ = std::make_shared<const TokenStream>(load_text(flags.text, tokenizer_, config_));
}

EvalTaskData EvalInput::data() const {
  return {.config = config_,
          .tokenizer = tokenizer_,
          .model_folder = folder_,
          .text = text_,
          .seed = seed_};
}

int run_eval(EvalRunFlags flags, const std::vector<EvalJob>& jobs, const std::string& go_on,
             std::vector<EvalSample>& samples) {
  EvalOptions& options = flags.options;
  if (!flags.policies.empty()) options.policies = split_policies(flags.policies);
  options.measure_recall = !flags.no_recall;
  options.prefill_chunk = flags.model.prefill_chunk;
  check_model_flags(flags.model);
  const EvalInput input(flags);
  // Before the weights are read: what is wrong with tasks and text.
  const std::vector<EvalRequest> requests = make_requests(jobs, input.data());
  std::optional<GateSet> gates;
  if (!flags.gates.empty()) {
    gates.emplace(GateSet::load(flags.gates, input.config()));
    gates->to(device_of(flags.model.device));
  }
  const Model model = load_model(flags.model, input.config(), Checkpoint::open(input.folder()));
  Evaluator evaluator(model, &input.tokenizer(), gates ? &*gates : nullptr,
                      gates ? gates_label(*gates, flags.gates) : "", requests, options,
                      describe_origin());
  std::optional<EvalFile> file;
  if (!flags.out.empty()) {
    file.emplace(flags.out, flags.resume, evaluator.configurations());
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
  if (!flags.json) std::cout << eval_table(summarise_with_means(samples)) << std::flush;
  if (code == kExitInterrupted) {
    std::cerr << "seer: interrupted; "
              << (file ? flags.out + " keeps what was done: " + go_on
                       : "without --out nothing is kept")
              << std::endl;
  }
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return code;
}

}  // namespace seer::cli
