#include "cli/calibration_flags.h"

#include <algorithm>
#include <set>

#include "cli/flag_checks.h"

namespace seer::cli {
namespace {

constexpr std::int64_t kShortestLength = 1024;  // as --min-context

}  // namespace

void add_calibration_flags(CLI::App& command, CalibrationFlags& flags) {
  command
      .add_option("--calibration-lengths", flags.lengths,
                  "Prompt lengths to calibrate densities for, with commas (default: 1024 and on, "
                  "doubled up to twice the context)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(number<std::int64_t>("an integer"));
  command
      .add_option("--calibration-tokens", flags.tokens,
                  "Tokens to measure for each of these lengths, at least")
      ->capture_default_str()
      ->check(number<std::int64_t>("an integer"));
}

CalibrationOptions calibration_options(const CalibrationFlags& flags, const ModelConfig& model,
                                       std::int64_t context, std::int64_t longest) {
  CalibrationOptions options;
  options.tokens_per_length = flags.tokens;
  options.lengths = flags.lengths;
  if (!options.lengths.empty()) return options;
  std::set<std::int64_t> lengths;
  const std::int64_t most = std::min({2 * context, model.max_positions, longest});
  for (std::int64_t length = kShortestLength; length < most; length *= 2) lengths.insert(length);
  lengths.insert(std::max<std::int64_t>(most, 2));
  options.lengths.assign(lengths.begin(), lengths.end());
  return options;
}

}  // namespace seer::cli
