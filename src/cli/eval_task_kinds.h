// The evaluation tasks that `seer eval` knows, each with its flags: for the verb of its name, and for tables of a sweep.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "seer/config.h"
#include "seer/eval_task.h"
#include "seer/tokenizer.h"
#include "seer/training_data.h"

namespace seer::cli {

// What tasks are made from besides their own flags.
struct EvalTaskData {
  const ModelConfig& config;
  const Tokenizer& tokenizer;  // must outlive the tasks
  std::filesystem::path model_folder;
  std::shared_ptr<const TokenStream> text;  // null where none was given
  std::uint64_t seed = 0;
};

class EvalTaskKind {
 public:
  EvalTaskKind() = default;
  EvalTaskKind(const EvalTaskKind&) = delete;
  EvalTaskKind& operator=(const EvalTaskKind&) = delete;
  virtual ~EvalTaskKind() = default;

  virtual const char* description() const = 0;
  virtual bool needs_text() const { return true; }
  virtual std::int64_t default_context() const { return 8192; }
  // Only the recall of attention is measured.
  virtual bool is_recall() const { return false; }
  virtual void add_flags(CLI::App& command) = 0;
  // Flags of the verb alone; and whether, by them, samples are written in place of evaluating.
  virtual void add_verb_flags(CLI::App& /*command*/) {}
  virtual bool is_writing() const { return false; }
  // Throws std::invalid_argument and std::runtime_error that name the flag or file.
  virtual std::vector<std::shared_ptr<const EvalTask>> make(const EvalTaskData& data) const = 0;
  // Where is_writing(); no weights are read.
  virtual void write(const EvalTaskData& /*data*/,
                     const std::vector<std::int64_t>& /*contexts*/) const {}
};

const std::vector<std::string>& eval_task_kind_names();
// A name of these.
std::unique_ptr<EvalTaskKind> make_eval_task_kind(std::string_view name);

}  // namespace seer::cli
