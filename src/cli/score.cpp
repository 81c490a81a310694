#include "cli/score.h"

#include "seer/score.h"

#include <cstdint>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/sparse_flags.h"
#include "seer/hub.h"
#include "seer/text_file.h"
#include "seer/token_file.h"

namespace seer::cli {
namespace {

struct ScoreFlags {
  ModelFlags model;
  SparseFlags sparse;
  std::string tokens, text_file;
  std::vector<std::int64_t> positions;
  bool json = false;
};

std::vector<std::vector<TokenId>> sequences_of(const ScoreFlags& flags,
                                               const std::filesystem::path& folder) {
  if (flags.tokens.empty() == flags.text_file.empty()) {
    throw std::invalid_argument("score: expected either --tokens or --text-file");
  }
  if (!flags.tokens.empty()) return read_token_file(flags.tokens);
  return {encode_text(Tokenizer::load(folder), read_text_file(flags.text_file), flags.text_file)};
}

void print_table(const SequenceScore& score) {
  std::cout << score.num_tokens << " tokens";
  if (score.nll_mean) std::cout << ", mean negative log-likelihood " << *score.nll_mean;
  std::cout << "\n" << std::fixed << std::setprecision(4);
  for (const PositionScore& position : score.positions) {
    std::cout << "position " << position.position << "  logsumexp " << position.logsumexp
              << "  top 5 (id: logit)";
    for (std::size_t i = 0; i < position.top_ids.size(); ++i) {
      std::cout << "  " << position.top_ids[i] << ": " << position.top_logits[i];
    }
    std::cout << "\n";
  }
  std::cout << std::defaultfloat << std::setprecision(6);
}

int score(const ScoreFlags& flags) {
  check_model_flags(flags.model);
  const std::filesystem::path folder = resolve_model(flags.model.model);
  // First, since a folder without it is none of a model.
  const ModelConfig config = read_model_config(folder);
  const std::vector<std::vector<TokenId>> sequences = sequences_of(flags, folder);
  const Sparse sparse(flags.sparse, config, device_of(flags.model.device));
  const Model model = load_model(flags.model, config, Checkpoint::open(folder));
  watch_for_interrupt();
  const ScoreOptions options{.positions = flags.positions,
                             .prefill_chunk = flags.model.prefill_chunk,
                             .between_chunks = throw_if_interrupted,
                             .attention = sparse.attention()};
  for (const std::vector<TokenId>& tokens : sequences) {
    const SequenceScore result = score_tokens(model, tokens, options);
    if (flags.json) {
      nlohmann::ordered_json line = nlohmann::ordered_json::parse(score_json(model, result));
      sparse.add_to(line);
      std::cout << line.dump() << std::endl;
    } else {
      print_table(result);
    }
    sparse.report();
  }
  if (!std::cout.flush()) throw std::runtime_error("cannot write the results to standard output");
  return kExitDone;
}

}  // namespace

void add_score(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "score", "Log-likelihood of given tokens, and the likeliest continuations at positions");
  auto flags = std::make_shared<ScoreFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_flags(*command, flags->model);
  add_sparse_flags(*command, flags->sparse);
  command->add_option(
      "--tokens", flags->tokens,
      "JSON file: a list of ids, a list of such lists, or an object with input_ids");
  command->add_option("--text-file", flags->text_file, "Text, which the model's tokenizer encodes");
  command
      ->add_option("--positions", flags->positions,
                   "Positions to report on, from 0, with commas (default: the last)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(number<std::int64_t>("an integer"));
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  command->callback([&action, flags] { action = [flags] { return score(*flags); }; });
}

}  // namespace seer::cli
