#include "cli/gates.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "cli/interrupt.h"
#include "seer/gate_adapter.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

using Json = nlohmann::ordered_json;

struct GatesFlags {
  std::string folder, out, model;
  bool json = false;
};

void print_json(const Json& json) {
  // Names of folders need not be UTF-8.
  std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

Json info_json(const AdapterInfo& info) {
  Json tensors = Json::array();
  for (const AdapterTensor& tensor : info.tensors)
    tensors.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
  return {{"folder", info.folder}, {"config", Json::parse(gate_config_json(info.config))},
          {"layers", info.layers}, {"parameters", info.parameters},
          {"bytes", info.bytes},   {"tensors", tensors}};
}

std::string dtypes_of(const AdapterInfo& info) {
  std::string names;
  for (const AdapterTensor& tensor : info.tensors) {
    if (names.find(tensor.dtype) == names.npos)
      names.append(names.empty() ? "" : ", ").append(tensor.dtype);
  }
  return names;
}

std::string calibration_text(const CalibrationTable& table) {
  if (table.empty()) return "none";
  const CalibrationRow* shortest = &table.rows.front();
  const CalibrationRow* longest = shortest;
  double least = shortest->density;
  double most = least;
  for (const CalibrationRow& row : table.rows) {
    if (row.length < shortest->length) shortest = &row;
    if (row.length > longest->length) longest = &row;
    least = std::min(least, row.density);
    most = std::max(most, row.density);
  }
  char text[200];
  std::snprintf(text, sizeof text, "%zu rows, %lld to %lld tokens, densities %g to %g",
                table.rows.size(), static_cast<long long>(shortest->length),
                static_cast<long long>(longest->length), least, most);
  return text;
}

void print_text(const AdapterInfo& info) {
  const GateConfig& config = info.config;
  const bool decode = config.kind == GateKind::kDecode;
  std::cout << "adapter      " << info.folder << "\n"
            << "gates        " << (decode ? "decode" : "prefill") << ", " << config.design
            << ", blocks of " << config.block_size << " tokens, width " << config.width
            << (config.use_rope ? ", RoPE" : ", no RoPE") << (config.qk_norm ? ", norms" : "")
            << "\n";
  if (!decode) {
    std::cout << "maps         " << (config.project_queries ? "queries and " : "")
              << (config.project_keys ? "keys" : "none") << "; the keys' per "
              << (config.key_heads == KeyHeads::kQuery ? "query head" : "key/value head") << "\n";
  }
  std::cout << "base model   " << config.base_model << "\n"
            << "fingerprint  " << config.fingerprint << "\n"
            << "stored       " << info.tensors.size() << " tensors in " << info.layers
            << " layers, " << info.parameters << " parameters, " << info.bytes << " bytes, "
            << dtypes_of(info) << "\n"
            << "calibration  " << calibration_text(config.calibration) << "\n";
}

int report(const AdapterInfo& info, bool json) {
  if (json) {
    print_json(info_json(info));
  } else {
    print_text(info);
  }
  if (!std::cout.flush()) throw std::runtime_error("cannot write the results to standard output");
  return kExitDone;
}

int info(const GatesFlags& flags) {
  const AdapterInfo found = read_adapter_info(flags.folder);
  if (!flags.model.empty()) {
    // Says what does not fit: the base model, the tensors, numbers that are not finite.
    check_adapter(flags.folder, read_model_config(resolve_model(flags.model)));
  }
  return report(found, flags.json);
}

int import_gates(const GatesFlags& flags) {
  const ModelConfig model = read_model_config(resolve_model(flags.model));
  return report(import_published_adapter(flags.folder, model, flags.out), flags.json);
}

int export_gates(const GatesFlags& flags) {
  const std::filesystem::path model =
      flags.model.empty() ? std::filesystem::path() : resolve_model(flags.model);
  export_published_adapter(flags.folder, flags.out, model);
  if (flags.json) {
    print_json({{"folder", flags.out}});
  } else {
    std::cout << flags.out << std::endl;
  }
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return kExitDone;
}

using Verb = int (*)(const GatesFlags&);

CLI::App& add_verb(CLI::App& gates, std::function<int()>& action, const char* name,
                   const char* description, const std::shared_ptr<GatesFlags>& flags, Verb verb) {
  CLI::App* command = gates.add_subcommand(name, description);
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command->add_flag("--json", flags->json, "One line of JSON on standard output and nothing else");
  command->callback([&action, flags, verb] { action = [flags, verb] { return verb(*flags); }; });
  return *command;
}

}  // namespace

void add_gates(CLI::App& app, std::function<int()>& action) {
  CLI::App* gates = app.add_subcommand("gates", "Adapters: what is in them, import and export");
  gates->require_subcommand(1);
  constexpr const char* kModel = "Model folder, or org/name of a model in the cache";

  auto flags = std::make_shared<GatesFlags>();
  CLI::App& info_verb = add_verb(*gates, action, "info", "Show what an adapter holds", flags, info);
  info_verb.add_option("folder", flags->folder, "The adapter's folder")->required();
  info_verb.add_option("-m,--model", flags->model,
                       std::string(kModel) + ": check that the adapter fits it");

  CLI::App& import_verb =
      add_verb(*gates, action, "import",
               "Make an adapter of a published one (config.json and attn_gate_weights.pth)", flags,
               import_gates);
  import_verb.add_option("folder", flags->folder, "The published adapter's folder")->required();
  import_verb.add_option("-m,--model", flags->model, std::string(kModel) + ": its base model")
      ->required();
  import_verb.add_option("--out", flags->out, "The new adapter's folder")->required();

  CLI::App& export_verb = add_verb(*gates, action, "export",
                                   "Write an adapter in the published format", flags, export_gates);
  export_verb.add_option("folder", flags->folder, "The adapter's folder")->required();
  export_verb.add_option("--out", flags->out, "The new folder")->required();
  export_verb.add_option(
      "-m,--model", flags->model,
      std::string(kModel) + ": its base model; needed unless the adapter was imported");
}

}  // namespace seer::cli
