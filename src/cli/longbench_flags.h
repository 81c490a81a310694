// LongBench's tasks on the command line.
#pragma once

#include <CLI/CLI.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "seer/eval_task.h"
#include "seer/longbench.h"
#include "seer/tokenizer.h"

namespace seer::cli {

struct LongBenchFlags {
  std::vector<std::string> tasks = {"all"};
  bool chat = false;
  LongBenchOptions options;  // without its chat template
};

// --data, --tasks, --samples, --prompts, --prompt-tokens and --chat.
void add_longbench_flags(CLI::App& command, LongBenchFlags& flags);

// The tasks that were asked for, in their order, each once. "all" is LongBench's datasets whose file is in --data, "all_e"
// those of LongBench-E; the others are named on stderr. `model` is the folder whose chat template --chat takes, `bos` its
// begin-of-text token; `tokenizer` must outlive the tasks. Throws std::invalid_argument that names the flag, and what
// make_longbench_task() throws.
EvalTasks longbench_tasks(const LongBenchFlags& flags, const std::filesystem::path& model,
                          std::optional<TokenId> bos, const Tokenizer& tokenizer);

}  // namespace seer::cli
