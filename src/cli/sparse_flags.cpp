#include "cli/sparse_flags.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/flag_checks.h"

namespace seer::cli {
namespace {

std::vector<double> layer_densities(const SparseAttention& attention) {
  std::vector<double> densities;
  for (const BlockCount& count : attention.counts()) densities.push_back(count.density());
  return densities;
}

}  // namespace

void add_sparse_flags(CLI::App& command, SparseFlags& flags) {
  command.add_option("--gates", flags.gates, "Adapter folder with trained gates");
  command.add_option("--policy", flags.policy,
                     "Which blocks prefill computes: dense, gate:density=0.1, gate:ratio=0.1, "
                     "streaming:ratio=0.1, xattention:mass=0.9, ... (with --gates: "
                     "gate:density=0.1 where the adapter is calibrated, else gate:ratio=0.1)");
  command
      .add_option("--min-context", flags.min_context,
                  "Prompts of fewer tokens are computed densely")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
}

std::string default_policy(const GateSet& gates) {
  return gates.config().calibration.empty() ? "gate:ratio=0.1" : "gate:density=0.1";
}

Sparse::Sparse(const SparseFlags& flags, const ModelConfig& model, c10::Device device,
               std::uint64_t seed) {
  if (!flags.gates.empty()) gates_.emplace(GateSet::load(flags.gates, model));
  std::string policy = flags.policy;
  if (policy.empty() && gates_) policy = default_policy(*gates_);
  if (policy.empty()) return;
  if (gates_) gates_->to(device);
  SparseAttentionOptions options;
  options.min_context = flags.min_context;
  options.seed = seed;
  attention_ =
      std::make_unique<SparseAttention>(model, policy, gates_ ? &*gates_ : nullptr, options);
}

void Sparse::report() const {
  if (attention_ == nullptr) return;
  const std::vector<double> densities = layer_densities(*attention_);
  std::fprintf(stderr, "seer: policy %s: density %.4f", attention_->policy().c_str(),
               attention_->total_count().density());
  if (attention_->is_too_short()) {
    std::fputs(" (the prompt is shorter than --min-context)", stderr);
  } else if (!densities.empty()) {
    const auto [least, most] = std::minmax_element(densities.begin(), densities.end());
    std::fprintf(stderr, ", of layers %.4f to %.4f", *least, *most);
  }
  std::fputc('\n', stderr);
  attention_->reset_counts();
}

void Sparse::add_to(nlohmann::ordered_json& line) const {
  if (attention_ == nullptr) return;
  line["policy"] = attention_->policy();
  line["density"] = attention_->total_count().density();
  line["layer_density"] = layer_densities(*attention_);
  line["dense_below_min_context"] = attention_->is_too_short();
}

}  // namespace seer::cli
