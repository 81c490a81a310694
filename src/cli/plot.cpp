#include "cli/plot.h"

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/sparse_flags.h"
#include "cli/text_flags.h"
#include "seer/hub.h"
#include "seer/report.h"

namespace seer::cli {
namespace {

struct PlotFlags {
  std::vector<std::string> results, training, heads;
  std::string out, figures, title = ReportInput().title;
  bool png = false;
  // Of the block maps.
  ModelFlags model;
  TextSource text;
  std::string gates, policy;
  std::int64_t context = 4096, first_token = 0;
};

// "3:1" is layer 3, head 1.
std::pair<std::int64_t, std::int64_t> parse_head(const std::string& text) {
  const std::size_t colon = text.find(':');
  std::int64_t layer = 0, head = 0;
  const auto is_number = [](std::string_view digits, std::int64_t& value) {
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && rest == digits.data() + digits.size();
  };
  if (colon == std::string::npos || !is_number(std::string_view(text).substr(0, colon), layer) ||
      !is_number(std::string_view(text).substr(colon + 1), head)) {
    throw std::invalid_argument("--heads '" + text + "': expected LAYER:HEAD, such as 3:1");
  }
  return {layer, head};
}

std::vector<BlockMaps> maps_of(const PlotFlags& flags) {
  if (flags.text.paths.empty()) {
    throw std::invalid_argument("plot --model: expected --text, what the maps are of");
  }
  BlockMapOptions options;
  for (const std::string& head : flags.heads) options.heads.push_back(parse_head(head));
  check_model_flags(flags.model);
  const std::filesystem::path folder = resolve_model(flags.model.model);
  const ModelConfig config = read_model_config(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const TokenStream text = load_text(flags.text, tokenizer, config);
  const auto size = static_cast<std::int64_t>(text.tokens.size());
  if (flags.first_token < 0 || flags.context < 1 || flags.first_token + flags.context > size) {
    throw std::invalid_argument("--context " + std::to_string(flags.context) +
                                " from --first-token " + std::to_string(flags.first_token) +
                                ": the text has " + std::to_string(size) + " tokens");
  }
  std::optional<GateSet> gates;
  if (!flags.gates.empty()) {
    gates.emplace(GateSet::load(flags.gates, config));
    gates->to(device_of(flags.model.device));
  }
  if (!flags.policy.empty()) {
    options.policy = flags.policy;
  } else {
    options.policy = gates ? default_policy(*gates) : "oracle:ratio=0.1";
  }
  const Model model = load_model(flags.model, config, Checkpoint::open(folder));
  const auto first = text.tokens.begin() + flags.first_token;
  return record_block_maps(model, gates ? &*gates : nullptr,
                           std::vector<TokenId>(first, first + flags.context), options);
}

int plot(const PlotFlags& flags) {
  if (flags.results.empty() && flags.training.empty() && flags.model.model.empty()) {
    throw std::invalid_argument(
        "plot: expected --results, --training, or --model and --text for block maps");
  }
  if (flags.out.empty() && flags.figures.empty()) {
    throw std::invalid_argument("plot: expected --out, --figures or both");
  }
  if (flags.png && flags.figures.empty()) {
    throw std::invalid_argument("plot --png: expected --figures, the folder for the files");
  }
  ReportInput input;
  input.title = flags.title;
  for (const std::string& file : flags.results) {
    for (EvalSample& sample : read_eval_file(file)) input.samples.push_back(std::move(sample));
  }
  for (const std::string& file : flags.training) {
    input.training.emplace_back(std::filesystem::path(file).filename().string(),
                                read_training_log(file));
  }
  if (!flags.model.model.empty()) input.maps = maps_of(flags);
  if (!flags.out.empty()) {
    write_report(input, flags.out);
    std::cerr << "seer: wrote " << flags.out << std::endl;
  }
  if (!flags.figures.empty()) {
    const std::vector<std::string> files = write_figures(input, flags.figures, flags.png);
    std::cerr << "seer: wrote " << files.size() << " files in " << flags.figures << std::endl;
  }
  return kExitDone;
}

}  // namespace

void add_plot(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "plot", "Results of eval, logs of distill and block maps as one HTML file with pictures");
  auto flags = std::make_shared<PlotFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command->add_option("--results", flags->results, "Result files of seer eval (--out)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--training", flags->training, "Logs of seer distill")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--out", flags->out, "The HTML file");
  command->add_option("--figures", flags->figures,
                      "A folder for the pictures as files: SVG, and CSV with their values");
  command->add_flag("--png", flags->png,
                    "With --figures: also PNG files, by rsvg-convert (librsvg)");
  command->add_option("--title", flags->title, "Its heading")->capture_default_str();

  add_model_flags(*command, flags->model);
  command->get_option("--model")->required(false)->description(
      "For block maps: model folder in Hugging Face layout, or org/name of a model in the cache");
  add_text_flags(*command, flags->text);
  command->get_option("--text")->required(false);
  command->add_option("--gates", flags->gates, "Adapter folder with trained gates");
  command->add_option(
      "--policy", flags->policy,
      "Of the block maps (default: as in generate; without gates oracle:ratio=0.1)");
  command->add_option("--context", flags->context, "Tokens of the block maps' prompt")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  command->add_option("--first-token", flags->first_token, "Of --text, where the prompt begins")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer from 0"));
  command
      ->add_option("--heads", flags->heads,
                   "LAYER:HEAD,... (default: the four that look furthest back)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false);
  command->callback([&action, flags] { action = [flags] { return plot(*flags); }; });
}

}  // namespace seer::cli
