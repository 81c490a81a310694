// What `seer eval`'s verbs and sweeps have in common: a model under policies, a result file, and the run itself.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/eval_task_kinds.h"
#include "cli/model_flags.h"
#include "seer/eval_results.h"
#include "seer/training_data.h"

namespace seer::cli {

struct EvalRunFlags {
  ModelFlags model;
  TextSource text;
  std::string gates, out;
  std::vector<std::string> policies;
  std::vector<std::int64_t> contexts = {8192};
  bool no_recall = false, resume = false, json = false;
  EvalOptions options;
};

// All but --out, --resume, --json and --context.
void add_eval_run_flags(CLI::App& command, EvalRunFlags& flags, bool needs_text);

// A kind of task, its flags taken, at these lengths.
struct EvalJob {
  std::string name;  // for messages, where there are several
  std::shared_ptr<const EvalTaskKind> kind;
  std::vector<std::int64_t> contexts;
};

// A folder's config and tokenizer, and the text: all that tasks are made from.
class EvalInput {
 public:
  EvalInput(const EvalRunFlags& flags);
  const std::filesystem::path& folder() const { return folder_; }
  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  EvalTaskData data() const;

 private:
  std::filesystem::path folder_;
  ModelConfig config_;
  Tokenizer tokenizer_;
  std::shared_ptr<const TokenStream> text_;
  std::uint64_t seed_;
};

// Runs the jobs, prints the table or lines, and returns the exit code. `samples` gets all samples of the result file, those
// of earlier runs included.
int run_eval(EvalRunFlags flags, const std::vector<EvalJob>& jobs, const std::string& go_on,
             std::vector<EvalSample>& samples);

}  // namespace seer::cli
