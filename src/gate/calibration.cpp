#include "seer/calibration.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

namespace seer {
namespace {

constexpr double kLargestThreshold = 0.999999;

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// The two neighbours between which x lies, or the two nearest to it; one twice where there is but one.
template <typename Map>
auto neighbours(const Map& points, typename Map::key_type x) {
  if (points.size() == 1) return std::pair(points.begin(), points.begin());
  auto above = points.upper_bound(x);
  if (above == points.begin()) ++above;
  if (above == points.end()) --above;
  return std::pair(std::prev(above), above);
}

// log y at x on the line through x's neighbours.
double interpolate(const std::map<double, double>& points, double x) {
  const auto [below, above] = neighbours(points, x);
  if (below == above) return below->second;
  const double share = (x - below->first) / (above->first - below->first);
  return below->second + share * (above->second - below->second);
}

void check_range(const char* what, double value, double smallest, double largest, double factor) {
  constexpr double kRounding = 1 + 1e-9;
  if (value >= smallest / (factor * kRounding) && value <= largest * (factor * kRounding)) return;
  throw std::invalid_argument(
      std::string(what) + " " + number_text(value) + ": the calibration covers " +
      number_text(smallest) + " to " + number_text(largest) + ", and up to a factor of " +
      number_text(factor) + " beyond; calibrate the gates there, or ask for less");
}

}  // namespace

std::int64_t CalibrationTable::thresholds_per_row() const {
  return std::max<std::int64_t>(layers, 1) * std::max<std::int64_t>(heads, 1);
}

void CalibrationTable::check() const {
  if (layers < 0 || heads < 0 || (heads > 0 && layers == 0)) {
    throw std::invalid_argument("calibration: " + std::to_string(layers) + " layers and " +
                                std::to_string(heads) +
                                " heads: expected heads only together with layers");
  }
  std::set<std::pair<std::int64_t, double>> seen;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const CalibrationRow& row = rows[i];
    const std::string where = "calibration: row " + std::to_string(i) + ": ";
    if (row.length < 1) {
      throw std::invalid_argument(where + "length is " + std::to_string(row.length) +
                                  ": expected at least 1");
    }
    if (!(row.density > 0 && row.density < 1)) {
      throw std::invalid_argument(where + "density is " + number_text(row.density) +
                                  ": expected a number between 0 and 1");
    }
    if (row.thresholds.size() != static_cast<std::size_t>(thresholds_per_row())) {
      throw std::invalid_argument(where + std::to_string(row.thresholds.size()) +
                                  " thresholds: expected " + std::to_string(thresholds_per_row()));
    }
    for (const double threshold : row.thresholds) {
      if (!(threshold > 0 && threshold < 1)) {
        throw std::invalid_argument(where + "threshold is " + number_text(threshold) +
                                    ": expected a number between 0 and 1");
      }
    }
    if (!seen.emplace(row.length, row.density).second) {
      throw std::invalid_argument(where + "a second one for length " + std::to_string(row.length) +
                                  " and density " + number_text(row.density));
    }
  }
}

std::vector<double> CalibrationTable::thresholds_for(double density, std::int64_t length) const {
  const auto count = static_cast<std::size_t>(thresholds_per_row());
  if (!(density > 0 && density <= 1)) {
    throw std::invalid_argument("density " + number_text(density) +
                                ": expected a number above 0, at most 1");
  }
  if (density == 1) return std::vector<double>(count, 0.0);
  if (rows.empty()) {
    throw std::invalid_argument("density " + number_text(density) +
                                ": the adapter has no calibration; calibrate it, or select by "
                                "ratio or threshold");
  }
  std::map<std::int64_t, std::vector<const CalibrationRow*>> by_length;
  for (const CalibrationRow& row : rows) by_length[row.length].push_back(&row);
  check_range("length", static_cast<double>(length), static_cast<double>(by_length.begin()->first),
              static_cast<double>(by_length.rbegin()->first), kMaxLengthFactor);

  std::vector<double> found(count);
  const auto [shorter, longer] = neighbours(by_length, length);
  for (std::size_t i = 0; i < count; ++i) {
    std::map<double, double> over_length;  // log length -> log threshold
    for (const auto& measured : {shorter, longer}) {
      const auto& [row_length, of_length] = *measured;
      std::map<double, double> over_density;
      for (const CalibrationRow* row : of_length)
        over_density[std::log(row->density)] = std::log(row->thresholds[i]);
      if (i == 0) {
        check_range("density", density, std::exp(over_density.begin()->first),
                    std::exp(over_density.rbegin()->first), kMaxDensityFactor);
      }
      over_length[std::log(static_cast<double>(row_length))] =
          interpolate(over_density, std::log(density));
    }
    found[i] = std::min(std::exp(interpolate(over_length, std::log(static_cast<double>(length)))),
                        kLargestThreshold);
  }
  return found;
}

double CalibrationTable::threshold_for(double density, std::int64_t length, std::int64_t layer,
                                       std::int64_t head) const {
  if (layer < 0 || head < 0 || (layers > 0 && layer >= layers) || (heads > 0 && head >= heads)) {
    throw std::invalid_argument("calibration: no layer " + std::to_string(layer) + ", head " +
                                std::to_string(head) + ": it has " + std::to_string(layers) +
                                " layers and " + std::to_string(heads) + " heads");
  }
  const std::int64_t index =
      (layers > 0 ? layer : 0) * std::max<std::int64_t>(heads, 1) + (heads > 0 ? head : 0);
  return thresholds_for(density, length)[static_cast<std::size_t>(index)];
}

}  // namespace seer
