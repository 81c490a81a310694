// Finds the thresholds that give wanted densities.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "seer/calibration.h"
#include "seer/gate.h"
#include "seer/model.h"
#include "seer/training_data.h"

namespace seer {

struct CalibrationOptions {
  std::vector<std::int64_t> lengths;  // tokens; each at most the model's maximum
  std::vector<double> densities = {0.5,  0.35, 0.25, 0.2,   0.15,  0.12, 0.1,
                                   0.08, 0.06, 0.05, 0.035, 0.025, 0.02};
  // Of each length: at least this many tokens are measured, and one sequence.
  std::int64_t tokens_per_length = 32768;
  // After each sequence: sequences done, and to do in all. May throw, to give up. May be empty.
  std::function<void(std::int64_t done, std::int64_t total)> on_progress = nullptr;
};

// Runs the model densely over sequences of `data` and measures, over all layers and heads together, the threshold on the
// predicted probability above which a density of blocks lies; the first and the last visible block of each row, which
// the density rule keeps anyway, count in it. Where these blocks alone exceed a density, as in short prompts, its threshold
// is one that no other block reaches. Throws std::invalid_argument naming the option out of range.
CalibrationTable calibrate_gates(const Model& model, const GateSet& gates, const TrainingData& data,
                                 const CalibrationOptions& options);

}  // namespace seer
