#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "seer/sparse_attention.h"

namespace seer::cli {

// The flags of verbs that can attend sparsely.
struct SparseFlags {
  std::string gates;   // an adapter's folder; empty: none
  std::string policy;  // empty: dense, or what default_policy() says of the gates
  std::int64_t min_context = SparseAttentionOptions().min_context;
};

void add_sparse_flags(CLI::App& command, SparseFlags& flags);

// "gate:density=0.1" for calibrated gates, else "gate:ratio=0.1".
std::string default_policy(const GateSet& gates);

// What the flags ask for.
class Sparse {
 public:
  // Loads the gates to the model's device and checks the policy. Throws std::invalid_argument and std::runtime_error.
  Sparse(const SparseFlags& flags, const ModelConfig& model, c10::Device device,
         std::uint64_t seed = 0);

  // Null where neither gates nor a policy were named: dense.
  SparseAttention* attention() const { return attention_.get(); }
  // On standard error: policy, density computed, and the least and largest density of a layer. Then counts anew.
  void report() const;
  // Adds policy, density, layer_density and dense_below_min_context to a line of JSON.
  void add_to(nlohmann::ordered_json& line) const;

 private:
  std::optional<GateSet> gates_;
  std::unique_ptr<SparseAttention> attention_;
};

}  // namespace seer::cli
