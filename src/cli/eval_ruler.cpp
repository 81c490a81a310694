#include "cli/eval_ruler.h"

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/dated_chat.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/progress_line.h"
#include "cli/text_flags.h"
#include "seer/config.h"
#include "seer/hub.h"
#include "seer/ruler.h"

namespace seer::cli {
namespace {

struct RulerFlags {
  std::string model;
  TextSource text;
  std::vector<std::string> tasks = {"all"};
  std::vector<std::int64_t> contexts = {4096};
  std::string write, length_of = "total";
  bool chat = false;
  RulerOptions options;
};

bool has_data(const RulerFlags& flags, RulerData data) {
  switch (data) {
    case RulerData::kNothing: return true;
    case RulerData::kText: return !flags.text.paths.empty();
    case RulerData::kSquad: return !flags.options.squad.empty();
    case RulerData::kHotpotqa: return !flags.options.hotpotqa.empty();
  }
  return false;
}

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
std::vector<std::string> task_names(const RulerFlags& flags) {
  std::vector<std::string> names;
  for (const std::string& name : flags.tasks) {
    if (name != "all") {
      const RulerData data = ruler_task_data(name);
      if (!has_data(flags, data)) {
        throw std::invalid_argument("eval ruler: task " + name + ": expected " + flag_of(data));
      }
      names.push_back(name);
      continue;
    }
    for (const std::string& known : ruler_task_names()) {
      const RulerData data = ruler_task_data(known);
      if (has_data(flags, data)) {
        names.push_back(known);
      } else {
        std::cerr << "seer: " << known << " is left out: it needs " << flag_of(data) << std::endl;
      }
    }
  }
  return names;
}

int write_samples(RulerFlags flags) {
  RulerOptions& options = flags.options;
  options.length_of = flags.length_of == "prompt" ? RulerLength::kPrompt : RulerLength::kTotal;
  const std::vector<std::string> names = task_names(flags);
  const std::filesystem::path folder = resolve_model(flags.model);
  const ModelConfig config = read_model_config(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder);
  if (flags.chat) options.chat = load_dated_chat(folder);
  std::shared_ptr<const RulerText> text;
  if (!flags.text.paths.empty()) {
    text = ruler_text(load_text(flags.text, tokenizer, config), tokenizer);
  }
  std::vector<std::unique_ptr<RulerTask>> tasks;
  for (const std::string& name : names) {
    tasks.push_back(make_ruler_task(name, tokenizer, config.bos_token, text, options));
  }
  watch_for_interrupt();
  ProgressLine line;
  write_ruler_jsonl(
      tasks, tokenizer, flags.contexts, flags.write, [&](std::int64_t done, std::int64_t total) {
        throw_if_interrupted();
        if (line.is_terminal()) {
          line.show("seer: " + std::to_string(done) + " of " + std::to_string(total) + " samples");
        }
      });
  line.clear();
  std::cerr << "seer: " << flags.write << " is written" << std::endl;
  return kExitDone;
}

}  // namespace

void add_eval_ruler(CLI::App& eval_command, std::function<int()>& action) {
  CLI::App* command = eval_command.add_subcommand(
      "ruler", "RULER's thirteen tasks: retrieval, tracing, counting and answering");
  auto flags = std::make_shared<RulerFlags>();
  const CLI::Validator integer = number<std::int64_t>("an integer");
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_option(*command, flags->model);
  add_text_flags(*command, flags->text, /*required=*/false);
  command
      ->add_option("--tasks", flags->tasks, "Names with commas, or all: those whose data is given")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command
      ->add_option("--context", flags->contexts,
                   "Tokens of a sample, with commas; may exceed the model's own context")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(integer);
  command
      ->add_option("--length-of", flags->length_of,
                   "What --context counts: total, with the tokens to be generated, or prompt")
      ->capture_default_str()
      ->check(CLI::IsMember({"total", "prompt"}));
  command->add_option("--samples", flags->options.samples, "Of each task and context")
      ->capture_default_str()
      ->check(integer);
  command->add_flag("--chat", flags->chat, "Prompts in the model's chat template");
  command
      ->add_option("--needles", flags->options.needles,
                   "Keys of multikey_1, values of multivalue, queries of multiquery")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--chains", flags->options.chains, "vt: chains of assignments")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--hops", flags->options.hops, "vt: assignments of a chain behind its first")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--prompts", flags->options.prompts,
                      "Other wording: JSON, family -> {template, answer_prefix}");
  command->add_option("--words", flags->options.words,
                      "Other words: JSON {adjectives, nouns, words}");
  command->add_option("--squad", flags->options.squad, "qa_1: SQuAD's JSON");
  command->add_option("--hotpotqa", flags->options.hotpotqa, "qa_2: HotpotQA's JSON");
  command->add_option("--seed", flags->options.seed, "Of the samples")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  command
      ->add_option("--write", flags->write,
                   "Write the samples as JSONL; the model's weights are not read")
      ->required();
  command->callback([&action, flags] { action = [flags] { return write_samples(*flags); }; });
}

}  // namespace seer::cli
