// What a selection policy says: the text that users write, and its parsed form.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace seer {

// Where the scores of the key blocks come from. kDense has none: every visible block is kept.
enum class PolicySource {
  kDense,
  kGate,
  kOracle,
  kStreaming,
  kMeanpool,
  kRandom,
  kQuest,
  kXattention,
  kMinference,
  kFlexprefill,
};

// How scores become a choice. kNone belongs to PolicySource::kDense alone.
//   ratio=R      0 < R <= 1, the kept share of the causal triangle: blocks_of_ratio() in each row
//   density=D    0 < D <= 1, a threshold from the adapter's calibration table
//   threshold=T  0 <= T < 1, the blocks with a probability above T
//   mass=M       0 < M <= 1, the fewest blocks whose probabilities sum to M of the row's total
//   budget=N     N >= 1, in tokens: blocks_of_budget() in each row
enum class PolicyRule { kNone, kRatio, kDensity, kThreshold, kMass, kBudget };

std::string_view policy_source_name(PolicySource source);
std::string_view policy_rule_name(PolicyRule rule);

// Text form: "dense", or "<source>:<key>=<value>,..." with exactly one rule among the keys, in any
// order, each key once, without white space. Printed canonically: rule, sink, local, dense_rows,
// start_layer, without those that are 0, then the source's own keys, without those at their default;
// canonical text is printed back the same.
struct SelectionPolicy {
  PolicySource source = PolicySource::kDense;
  PolicyRule rule = PolicyRule::kNone;
  double value = 0.0;            // of ratio, density, threshold and mass
  std::int64_t budget = 0;       // of budget, tokens
  std::int64_t sink = 0;         // the first blocks of a row, always kept
  std::int64_t local = 0;        // the last visible blocks of a row, always kept
  std::int64_t dense_rows = 0;   // the last query block rows, which keep every visible block
  std::int64_t start_layer = 0;  // the layers before it are dense
  // Keys of one source alone; the others do not take them.
  std::int64_t stride = 16;  // xattention: tokens between the antidiagonals, >= 1
  std::int64_t last = 64;    // minference: the queries at the prompt's end that are looked at, >= 1
  std::int64_t min_budget = 1024;  // flexprefill, beside mass: tokens, >= 0
  double tau = 0.1;                // flexprefill: 0 <= tau <= 1

  // Throws std::invalid_argument that names the policy, the key, the value and what is accepted.
  static SelectionPolicy parse(std::string_view text);
  std::string to_string() const;
  bool operator==(const SelectionPolicy&) const = default;
};

// The blocks that each row keeps under ratio=`ratio`: max(1, int((1 - sqrt(1 - ratio)) *
// num_kv_blocks)). Keeping k of n blocks in every row of a causal triangle keeps 2r - r*r of it,
// with r = k / n.
std::int64_t blocks_of_ratio(double ratio, std::int64_t num_kv_blocks);

// The blocks that each row keeps under budget=`tokens`: max(1, tokens / block_size).
std::int64_t blocks_of_budget(std::int64_t tokens, std::int64_t block_size);

}  // namespace seer
