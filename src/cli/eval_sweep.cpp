#include "cli/eval_sweep.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/eval_run.h"
#include "cli/flag_checks.h"
#include "cli/toml_arguments.h"
#include "seer/report.h"
#include "seer/text_file.h"

namespace seer::cli {
namespace {

struct SweepFlags {
  std::string config;
  std::string title = "Seer: a sweep";
  std::vector<double> densities;
  EvalRunFlags run;
};

CLI::Option* add_contexts(CLI::App& command, std::vector<std::int64_t>& contexts) {
  return command.add_option("--context", contexts)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(number<std::int64_t>("an integer"));
}

// CLI11 takes arguments from the last to the first.
void parse(CLI::App& command, std::vector<std::string> arguments, const std::string& place) {
  std::reverse(arguments.begin(), arguments.end());
  try {
    command.parse(arguments);
  } catch (const CLI::ParseError& error) {
    throw std::runtime_error(place + ": " + error.what());
  }
}

// "gate:density={density}" once for each density.
std::vector<std::string> expand_policies(const std::vector<std::string>& given,
                                         const std::vector<double>& densities,
                                         const std::string& file) {
  const std::string mark = "{density}";
  std::vector<std::string> policies;
  for (const std::string& policy : given) {
    const std::size_t at = policy.find(mark);
    if (at == std::string::npos) {
      policies.push_back(policy);
      continue;
    }
    if (densities.empty()) {
      throw std::runtime_error(file + ": policy '" + policy +
                               "': expected the key density, a list of numbers to put there");
    }
    for (const double density : densities) {
      std::ostringstream value;
      value << density;
      policies.push_back(std::string(policy).replace(at, mark.size(), value.str()));
    }
  }
  return policies;
}

SweepFlags read_settings(const toml::table& table, const std::string& file) {
  SweepFlags flags;
  CLI::App command("", "eval sweep");
  command.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_eval_run_flags(command, flags.run, /*needs_text=*/false);
  add_contexts(command, flags.run.contexts);
  command.add_flag("--no-recall", flags.run.no_recall);
  command.add_option("--out", flags.run.out)->required();
  command.add_option("--title", flags.title);
  command.add_option("--density", flags.densities)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(number<double>("a number"));
  parse(command, toml_arguments(table, file, command, {"task"}), file);
  flags.run.policies = expand_policies(flags.run.policies, flags.densities, file);
  return flags;
}

EvalJob read_job(const toml::table& table, const std::string& file, const SweepFlags& flags) {
  const std::string line = file + ":" + std::to_string(table.source().begin.line);
  const auto* name = table["name"].as_string();
  const std::vector<std::string>& known = eval_task_kind_names();
  if (name == nullptr || std::find(known.begin(), known.end(), name->get()) == known.end()) {
    std::string list;
    for (const std::string& kind : known) list += (list.empty() ? "" : ", ") + kind;
    throw std::runtime_error(line + ": task: expected a name, one of: " + list);
  }
  const std::string place = line + ": " + name->get();
  std::shared_ptr<EvalTaskKind> kind = make_eval_task_kind(name->get());
  EvalJob job{.name = place, .kind = kind, .contexts = {}};
  CLI::App command("", "eval " + name->get());
  command.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  kind->add_flags(command);
  add_contexts(command, job.contexts);
  parse(command, toml_arguments(table, file, command, {"name"}), place);
  if (job.contexts.empty()) job.contexts = flags.run.contexts;
  if (kind->needs_text() && flags.run.text.paths.empty()) {
    throw std::runtime_error(place + ": expected the key text, files or folders");
  }
  return job;
}

std::vector<EvalJob> read_jobs(const toml::table& table, const std::string& file,
                               const SweepFlags& flags) {
  const toml::array* tasks = table["task"].as_array();
  if (tasks == nullptr || tasks->empty()) {
    throw std::runtime_error(file + ": expected at least one [[task]] with a name");
  }
  std::vector<EvalJob> jobs;
  for (const toml::node& node : *tasks) {
    const toml::table* task = node.as_table();
    if (task == nullptr) fail_at(file, node.source(), "task: expected tables, [[task]]");
    jobs.push_back(read_job(*task, file, flags));
  }
  return jobs;
}

void write_results(const std::filesystem::path& folder, const std::string& title,
                   const std::vector<EvalSample>& samples) {
  if (samples.empty()) return;
  std::vector<EvalSummary> summaries = summarise_with_means(samples);
  for (EvalSummary& part : summarise(samples, SummaryParts::kSubsets)) {
    summaries.push_back(std::move(part));
  }
  write_text_file((folder / "summary.csv").string(), eval_csv(summaries));
  ReportInput input;
  input.title = title;
  input.samples = samples;
  write_report(input, folder / "report.html");
  std::cerr << "seer: wrote samples.jsonl, summary.csv and report.html in " << folder.string()
            << std::endl;
}

int sweep(const std::string& config) {
  const toml::table table = read_toml(config);
  SweepFlags flags = read_settings(table, config);
  const std::vector<EvalJob> jobs = read_jobs(table, config, flags);
  const std::filesystem::path folder = flags.run.out;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!std::filesystem::is_directory(folder)) {
    throw std::runtime_error(config + ": out: " + folder.string() +
                             ": cannot be made: " + error.message());
  }
  flags.run.out = (folder / "samples.jsonl").string();
  flags.run.resume = true;
  std::vector<EvalSample> samples;
  const int code = run_eval(flags.run, jobs, "the same command goes on", samples);
  write_results(folder, flags.title, samples);
  return code;
}

}  // namespace

void add_eval_sweep(CLI::App& eval_command, std::function<int()>& action) {
  CLI::App* command = eval_command.add_subcommand(
      "sweep", "Tasks x policies x lengths, as a file says; the same command goes on after a stop");
  auto config = std::make_shared<std::string>();
  command
      ->add_option(
          "--config", *config,
          "TOML: model, gates, text, out (a folder), policy, context and others, keys named "
          "as the flags of the other verbs; and [[task]] tables with a name and the flags "
          "of that task (docs/evaluation.md)")
      ->required();
  command->callback([&action, config] { action = [config] { return sweep(*config); }; });
}

}  // namespace seer::cli
