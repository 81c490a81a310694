#include "cli/eval_longbench.h"

#include <utility>

#include "cli/longbench_flags.h"

namespace seer::cli {
namespace {

class LongBenchKind final : public EvalTaskKind {
 public:
  const char* description() const override {
    return "LongBench's datasets, from the published files: answers, summaries, classes, code";
  }
  bool needs_text() const override { return false; }
  std::int64_t default_context() const override { return 32768; }
  void add_flags(CLI::App& command) override { add_longbench_flags(command, flags_); }
  std::vector<std::shared_ptr<const EvalTask>> make(const EvalTaskData& data) const override {
    std::vector<std::shared_ptr<const EvalTask>> tasks;
    for (std::unique_ptr<EvalTask>& task :
         longbench_tasks(flags_, data.model_folder, data.config.bos_token, data.tokenizer)) {
      tasks.push_back(std::move(task));
    }
    return tasks;
  }

 private:
  LongBenchFlags flags_;
};

}  // namespace

std::unique_ptr<EvalTaskKind> make_longbench_kind() {
  return std::make_unique<LongBenchKind>();
}

}  // namespace seer::cli
