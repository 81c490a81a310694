// The thresholds that give wanted densities: measured once, stored in the adapter.
#pragma once

#include <cstdint>
#include <vector>

namespace seer {

// One measurement: on sequences of `length` tokens, keeping the blocks with a predicted probability above `thresholds`
// kept `density` of the visible blocks.
struct CalibrationRow {
  std::int64_t length = 0;         // tokens, at least 1
  double density = 0.0;            // 0 < density < 1
  std::vector<double> thresholds;  // 0 < threshold < 1; layout: see CalibrationTable
};

// `layers` and `heads` say what a row's thresholds are for
//   0 layers             one threshold for all layers and heads
//   layers and 0 heads   [layers]
//   layers and heads     [layers * heads], heads of a layer side by side
struct CalibrationTable {
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::vector<CalibrationRow> rows;

  // How far outside of the measured range a question may lie; beyond it a threshold would be a guess.
  static constexpr double kMaxLengthFactor = 2.0;
  static constexpr double kMaxDensityFactor = 1.25;

  bool empty() const { return rows.empty(); }
  std::int64_t thresholds_per_row() const;

  // Throws std::invalid_argument that names the row, the field and its value: numbers out of range, rows of wrong size,
  // two rows for one length and density.
  void check() const;

  // The threshold for `density` on sequences of `length` tokens: linear in log density between the rows of one length,
  // then in log length; the logarithm of the threshold is what is interpolated. Outside of the measured range, up to
  // the factors above, the nearest two rows are continued. A density of 1 gives 0 and needs no table; who promises
  // dense attention does not select at all.
  // Throws std::invalid_argument for an empty table, a density or length out of range (with the range that the table
  // covers), and a layer or head that it does not have.
  double threshold_for(double density, std::int64_t length, std::int64_t layer = 0,
                       std::int64_t head = 0) const;
  // All of a row's thresholds at once, in the row's layout.
  std::vector<double> thresholds_for(double density, std::int64_t length) const;
};

}  // namespace seer
