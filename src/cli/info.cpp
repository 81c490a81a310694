#include "cli/info.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "seer/hub.h"
#include "seer/model_info.h"

namespace seer::cli {
namespace {

struct InfoFlags {
  std::string model;
  std::string gates;
  RunShape run;
  bool json = false;
};

int info(const InfoFlags& flags, const CLI::App& command) {
  if (command.count("--context") > 0 && flags.run.context < 1) {
    throw std::invalid_argument("--context: expected at least 1, got " +
                                std::to_string(flags.run.context));
  }
  std::optional<std::filesystem::path> gates;
  if (!flags.gates.empty()) gates = flags.gates;
  const ModelInfo found = read_model_info(resolve_model(flags.model), flags.run, gates);
  std::cout << (flags.json ? model_info_json(found) : model_info_text(found)) << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  if (found.run.context > found.config.max_positions) {
    std::cerr << "seer: --context " << found.run.context
              << " is more than the model was made for: " << found.config.max_positions
              << " (max_position_embeddings in config.json)" << std::endl;
  }
  for (const std::string& problem : found.problems) std::cerr << "seer: " << problem << std::endl;
  return found.problems.empty() ? kExitDone : kExitFailed;
}

}  // namespace

void add_info(CLI::App& app, std::function<int()>& action) {
  CLI::App* command =
      app.add_subcommand("info", "Show what a model folder holds and what running it takes");
  auto flags = std::make_shared<InfoFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_option(*command, flags->model);
  command->add_option("--gates", flags->gates, "The folder of an adapter with gates for it");
  command->add_option("--context", flags->run.context,
                      "Tokens of each sequence (default: all positions of the model)");
  command->add_option("--batch", flags->run.batch, "Sequences")->capture_default_str();
  command
      ->add_option("--dtype", flags->run.dtype, "Of weights and activations: float32 or bfloat16")
      ->capture_default_str();
  command
      ->add_option("--prefill-chunk", flags->run.prefill_chunk,
                   "Tokens of a prompt that are run at once")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "One line of JSON on standard output and nothing else");
  command->callback(
      [&action, flags, command] { action = [flags, command] { return info(*flags, *command); }; });
}

}  // namespace seer::cli
