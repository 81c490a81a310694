#include "cli/calibrate.h"

#include "seer/calibrate.h"

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "cli/calibration_flags.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/text_flags.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

struct CalibrateFlags {
  ModelFlags model;
  TextSource text;
  CalibrationFlags calibration;
  std::string gates, out;
  std::int64_t context = 8192;
  std::uint64_t seed = 0;
  bool json = false;
};

void print(const CalibrationTable& table, bool json) {
  if (!json) std::cout << "length  density  threshold\n";
  for (const CalibrationRow& row : table.rows) {
    if (json) {
      const nlohmann::ordered_json line = {
          {"length", row.length}, {"density", row.density}, {"threshold", row.thresholds.front()}};
      std::cout << line.dump() << "\n";
    } else {
      std::printf("%6lld  %7.3f  %.3e\n", static_cast<long long>(row.length), row.density,
                  row.thresholds.front());
    }
  }
  std::cout << std::flush;
}

int calibrate(const CalibrateFlags& flags) {
  check_model_flags(flags.model);
  const std::filesystem::path folder = resolve_model(flags.model.model);
  const ModelConfig config = read_model_config(folder);
  if (flags.gates.empty()) {
    throw std::invalid_argument("--gates is missing: expected an adapter's folder");
  }
  GateSet gates = GateSet::load(flags.gates, config);
  gates.to(device_of(flags.model.device));
  const Tokenizer tokenizer = Tokenizer::load(folder);
  TokenStream stream = load_text(flags.text, tokenizer, config);
  CalibrationOptions options = calibration_options(flags.calibration, config, flags.context,
                                                   static_cast<std::int64_t>(stream.tokens.size()));
  const auto data = make_packed_data(std::move(stream), tokenizer, document_start(config),
                                     {.retrieval_share = 0, .seed = flags.seed});
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Model model = load_model(flags.model, config, checkpoint);
  watch_for_interrupt();
  options.on_progress = [](std::int64_t done, std::int64_t total) {
    throw_if_interrupted();
    std::fprintf(stderr, "seer: sequence %lld of %lld\n", static_cast<long long>(done),
                 static_cast<long long>(total));
  };
  const CalibrationTable table = calibrate_gates(model, gates, *data, options);
  gates.set_calibration(table);
  gates.save(flags.out.empty() ? flags.gates : flags.out);
  print(table, flags.json);
  return kExitDone;
}

}  // namespace

void add_calibrate(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "calibrate",
      "Measure the thresholds that give wanted densities, and store them in an adapter");
  auto flags = std::make_shared<CalibrateFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_flags(*command, flags->model);
  add_text_flags(*command, flags->text);
  command->add_option("--gates", flags->gates, "Adapter folder");
  command->add_option("--out", flags->out, "Where the calibrated adapter goes (default: --gates)");
  command->add_option("--context", flags->context, "Length that the default lengths are about")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
  add_calibration_flags(*command, flags->calibration);
  command->add_option("--seed", flags->seed, "Of the choice of text")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  command->callback([&action, flags] { action = [flags] { return calibrate(*flags); }; });
}

}  // namespace seer::cli
