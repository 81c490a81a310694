// From values to places on an axis.
#pragma once

#include <string>
#include <vector>

#include "eval/chart.h"

namespace seer {

class ChartScale {
 public:
  // `values` are those to be shown; `begin` and `end` are where the axis lies in the picture.
  ChartScale(const ChartAxis& axis, const std::vector<double>& values, double begin, double end);

  bool can_show(double value) const;
  // Beyond the axis: at its edge.
  double place(double value) const;
  bool is_outside(double value) const { return value < low_ || value > high_; }
  // About five round values, ascending.
  const std::vector<double>& ticks() const { return ticks_; }
  std::string text(double value) const;

 private:
  void set_linear(bool has_min, bool has_max);
  void set_logarithmic(bool has_min, bool has_max);

  bool logarithmic_, percent_;
  double low_ = 0, high_ = 1, begin_, end_;
  std::vector<double> ticks_;
};

}  // namespace seer
