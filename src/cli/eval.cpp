#include "cli/eval.h"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/eval_run.h"
#include "cli/eval_sweep.h"
#include "cli/eval_task_kinds.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"

namespace seer::cli {
namespace {

int eval(const EvalRunFlags& flags, const std::shared_ptr<const EvalTaskKind>& kind) {
  if (kind->is_writing()) {
    const EvalInput input(flags);
    watch_for_interrupt();
    kind->write(input.data(), flags.contexts);
    return kExitDone;
  }
  if (flags.resume && flags.out.empty()) {
    throw std::invalid_argument("eval --resume: expected --out, the file to go on with");
  }
  std::vector<EvalSample> samples;
  return run_eval(flags, {{.name = "", .kind = kind, .contexts = flags.contexts}},
                  "the same command with --resume goes on", samples);
}

void add_task(CLI::App& eval_command, std::function<int()>& action, const std::string& name) {
  const std::shared_ptr<EvalTaskKind> kind = make_eval_task_kind(name);
  CLI::App* command = eval_command.add_subcommand(name, kind->description());
  auto flags = std::make_shared<EvalRunFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_eval_run_flags(*command, *flags, kind->needs_text());
  flags->contexts = {kind->default_context()};
  command->add_option("--context", flags->contexts, "Tokens of a sample, with commas")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  kind->add_flags(*command);
  if (!kind->is_recall()) {
    command->add_flag("--no-recall", flags->no_recall,
                      "Leave out the share of attention that a policy keeps");
  }
  command->add_option("--out", flags->out,
                      "Result file: each sample is added as soon as it is done");
  command->add_flag("--resume", flags->resume, "Go on with --out: samples in it are not repeated");
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  kind->add_verb_flags(*command);
  command->callback(
      [&action, flags, kind] { action = [flags, kind] { return eval(*flags, kind); }; });
}

}  // namespace

void add_eval(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "eval",
      "Perplexity, retrieval, RULER, LongBench and attention recall under policies, with density, "
      "time and memory");
  command->require_subcommand(1);
  for (const std::string& name : eval_task_kind_names()) add_task(*command, action, name);
  add_eval_sweep(*command, action);
}

}  // namespace seer::cli
