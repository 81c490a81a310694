#include "cli/eval_ruler.h"

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/dated_chat.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/progress_line.h"
#include "seer/ruler.h"

namespace seer::cli {
namespace {

struct RulerFlags {
  std::vector<std::string> tasks = {"all"};
  std::string write, length_of = "total";
  bool chat = false;
  RulerOptions options;
};

const char* flag_of(RulerData data) {
  switch (data) {
    case RulerData::kNothing: return "";
    case RulerData::kText: return "--text";
    case RulerData::kSquad: return "--squad";
    case RulerData::kHotpotqa: return "--hotpotqa";
  }
  return "";
}

// "all" is every task whose data was given; those left out are named.
std::vector<std::string> task_names(const RulerFlags& flags, bool has_text) {
  const auto has_data = [&](RulerData data) {
    switch (data) {
      case RulerData::kNothing: return true;
      case RulerData::kText: return has_text;
      case RulerData::kSquad: return !flags.options.squad.empty();
      case RulerData::kHotpotqa: return !flags.options.hotpotqa.empty();
    }
    return false;
  };
  std::vector<std::string> names;
  for (const std::string& name : flags.tasks) {
    if (name != "all") {
      const RulerData data = ruler_task_data(name);
      if (!has_data(data)) {
        throw std::invalid_argument("ruler: task " + name + ": expected " + flag_of(data));
      }
      names.push_back(name);
      continue;
    }
    for (const std::string& known : ruler_task_names()) {
      const RulerData data = ruler_task_data(known);
      if (has_data(data)) {
        names.push_back(known);
      } else {
        std::cerr << "seer: " << known << " is left out: it needs " << flag_of(data) << std::endl;
      }
    }
  }
  return names;
}

class RulerKind final : public EvalTaskKind {
 public:
  const char* description() const override {
    return "RULER's thirteen tasks: retrieval, tracing, counting and answering";
  }
  bool needs_text() const override { return false; }

  void add_flags(CLI::App& command) override {
    command
        .add_option("--tasks", flags_.tasks, "Names with commas, or all: those whose data is given")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->capture_default_str();
    command
        .add_option("--length-of", flags_.length_of,
                    "What --context counts: total, with the tokens to be generated, or prompt")
        ->capture_default_str()
        ->check(CLI::IsMember({"total", "prompt"}));
    add_integer(command, "--samples", flags_.options.samples, "Of each task and context");
    command.add_flag("--chat", flags_.chat, "Prompts in the model's chat template");
    add_integer(command, "--needles", flags_.options.needles,
                "Keys of multikey_1, values of multivalue, queries of multiquery");
    add_integer(command, "--chains", flags_.options.chains, "vt: chains of assignments");
    add_integer(command, "--hops", flags_.options.hops,
                "vt: assignments of a chain behind its first");
    command.add_option("--prompts", flags_.options.prompts,
                       "Other wording: JSON, family -> {template, answer_prefix}");
    command.add_option("--words", flags_.options.words,
                       "Other words: JSON {adjectives, nouns, words}");
    command.add_option("--squad", flags_.options.squad, "qa_1: SQuAD's JSON");
    command.add_option("--hotpotqa", flags_.options.hotpotqa, "qa_2: HotpotQA's JSON");
  }

  void add_verb_flags(CLI::App& command) override {
    command.add_option("--write", flags_.write,
                       "Write the samples as JSONL in place of evaluating; the model's weights are "
                       "not read, and contexts may exceed its own");
  }
  bool is_writing() const override { return !flags_.write.empty(); }

  std::vector<std::shared_ptr<const EvalTask>> make(const EvalTaskData& data) const override {
    std::vector<std::shared_ptr<const EvalTask>> tasks;
    for (std::unique_ptr<RulerTask>& task : make_tasks(data)) tasks.push_back(std::move(task));
    return tasks;
  }

  void write(const EvalTaskData& data, const std::vector<std::int64_t>& contexts) const override {
    const std::vector<std::unique_ptr<RulerTask>> tasks = make_tasks(data);
    ProgressLine line;
    write_ruler_jsonl(tasks, data.tokenizer, contexts, flags_.write,
                      [&](std::int64_t done, std::int64_t total) {
                        throw_if_interrupted();
                        if (line.is_terminal()) {
                          line.show("seer: " + std::to_string(done) + " of " +
                                    std::to_string(total) + " samples");
                        }
                      });
    line.clear();
    std::cerr << "seer: " << flags_.write << " is written" << std::endl;
  }

 private:
  std::vector<std::unique_ptr<RulerTask>> make_tasks(const EvalTaskData& data) const {
    RulerOptions options = flags_.options;
    options.seed = data.seed;
    options.length_of = flags_.length_of == "prompt" ? RulerLength::kPrompt : RulerLength::kTotal;
    if (flags_.chat) options.chat = load_dated_chat(data.model_folder);
    const std::vector<std::string> names = task_names(flags_, data.text != nullptr);
    std::shared_ptr<const RulerText> text;
    if (data.text) text = ruler_text(*data.text, data.tokenizer);
    std::vector<std::unique_ptr<RulerTask>> tasks;
    for (const std::string& name : names) {
      tasks.push_back(make_ruler_task(name, data.tokenizer, data.config.bos_token, text, options));
    }
    return tasks;
  }

  RulerFlags flags_;
};

}  // namespace

std::unique_ptr<EvalTaskKind> make_ruler_kind() {
  return std::make_unique<RulerKind>();
}

}  // namespace seer::cli
