#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>

#include "base/quote.h"
#include "gate/gate_registry.h"
#include "gate/pooled_gate.h"

namespace seer {
namespace {

constexpr std::size_t kMaxNameBytes = 100;

struct Registry {
  std::mutex mutex;
  std::map<std::string, GateFactory, std::less<>> factories;
};

// Made on first use: designs are registered by static initialisers of other files.
Registry& registry() {
  static Registry instance;
  return instance;
}

bool is_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

void register_gate_design(std::string name, GateFactory make) {
  if (!is_name(name)) {
    throw std::invalid_argument("gate design " + quote(name) +
                                ": expected letters, digits, '-', '_' and '.', at most 100");
  }
  if (name.front() == 'Q' && name.find("_K") != name.npos) {
    throw std::invalid_argument("gate design " + quote(name) +
                                ": names of the form Q..._K... are those of pooled designs");
  }
  if (!make) throw std::invalid_argument("gate design " + quote(name) + ": no function to make it");
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto [place, added] = all.factories.emplace(std::move(name), std::move(make));
  if (!added)
    throw std::invalid_argument("gate design " + quote(place->first) + ": registered twice");
}

std::vector<std::string> registered_gate_designs() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  std::vector<std::string> names;
  for (const auto& [name, make] : all.factories) names.push_back(name);
  return names;
}

GateFactory find_gate_factory(std::string_view name) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto found = all.factories.find(name);
  return found == all.factories.end() ? nullptr : found->second;
}

std::unique_ptr<Gate> make_gate(const GateConfig& config, const ModelConfig& model) {
  check_gate_config(config, model);
  if (config.kind == GateKind::kDecode) {
    throw std::invalid_argument(
        "kind decode: gates for decoding cannot be run yet; expected an adapter of kind prefill");
  }
  if (const GateFactory make = find_gate_factory(config.design)) return make(config, model);
  return std::make_unique<PooledGate>(GateDesign::parse(config.design), config, model);
}

}  // namespace seer
