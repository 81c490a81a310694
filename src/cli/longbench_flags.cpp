#include "cli/longbench_flags.h"

#include <iostream>
#include <set>
#include <stdexcept>

#include "cli/dated_chat.h"
#include "cli/flag_checks.h"

namespace seer::cli {
namespace {

// The datasets of one set whose file is there.
std::vector<std::string> names_with_file(const LongBenchFlags& flags,
                                         const std::vector<std::string>& all) {
  std::vector<std::string> names;
  for (const std::string& name : all) {
    const std::filesystem::path file = longbench_file(flags.options.folder, name);
    if (std::filesystem::is_regular_file(file)) {
      names.push_back(name);
    } else {
      std::cerr << "seer: " << name << " is left out: there is no " << file.string() << std::endl;
    }
  }
  if (names.empty()) {
    throw std::invalid_argument("--data " + flags.options.folder.string() +
                                ": expected LongBench's files in it, such as " + all.front() +
                                ".jsonl");
  }
  return names;
}

std::vector<std::string> task_names(const LongBenchFlags& flags) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  const auto add = [&](const std::string& name) {
    if (seen.insert(name).second) names.push_back(name);
  };
  for (const std::string& name : flags.tasks) {
    if (name == "all" || name == "all_e") {
      const bool is_e = name == "all_e";
      for (const std::string& found :
           names_with_file(flags, is_e ? longbench_e_task_names() : longbench_task_names())) {
        add(found);
      }
      continue;
    }
    const std::filesystem::path file = longbench_file(flags.options.folder, name);
    if (!std::filesystem::is_regular_file(file)) {
      throw std::invalid_argument("--tasks " + name + ": there is no " + file.string());
    }
    add(name);
  }
  return names;
}

}  // namespace

void add_longbench_flags(CLI::App& command, LongBenchFlags& flags) {
  command.add_option("--data", flags.options.folder, "Folder with LongBench's <dataset>.jsonl")
      ->required();
  command
      .add_option("--tasks", flags.tasks,
                  "Datasets with commas; all, or all_e of LongBench-E: those whose file is there")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  add_integer(command, "--samples", flags.options.samples,
              "Rows of each dataset, evenly over its file; 0: all");
  command.add_option("--prompts", flags.options.prompts,
                     "Other wording: JSON, dataset -> template with {context} and {input}");
  add_integer(command, "--prompt-tokens", flags.options.prompt_tokens,
              "Cut prompts to so many tokens, before the chat template; 0: to the context");
  command.add_flag("--chat", flags.chat,
                   "Prompts in the model's chat template, but for few-shot examples and code");
}

EvalTasks longbench_tasks(const LongBenchFlags& flags, const std::filesystem::path& model,
                          std::optional<TokenId> bos, const Tokenizer& tokenizer) {
  if (!std::filesystem::is_directory(flags.options.folder)) {
    throw std::invalid_argument("--data " + flags.options.folder.string() +
                                ": expected a folder with LongBench's <dataset>.jsonl");
  }
  LongBenchOptions options = flags.options;
  if (flags.chat) options.chat = load_dated_chat(model);
  EvalTasks tasks;
  for (const std::string& name : task_names(flags)) {
    tasks.push_back(make_longbench_task(name, tokenizer, bos, options));
  }
  return tasks;
}

}  // namespace seer::cli
