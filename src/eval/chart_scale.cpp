#include "eval/chart_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace seer {
namespace {

// 1, 2 or 5 times a power of ten, so that `span` has about four steps.
double round_step(double span) {
  const double power = std::pow(10.0, std::floor(std::log10(span / 4)));
  const double share = span / 4 / power;
  if (share < 1.5) return power;
  if (share < 3.5) return 2 * power;
  return share < 7.5 ? 5 * power : 10 * power;
}

}  // namespace

ChartScale::ChartScale(const ChartAxis& axis, const std::vector<double>& values, double begin,
                       double end)
    : logarithmic_(axis.logarithmic), percent_(axis.percent), begin_(begin), end_(end) {
  low_ = logarithmic_ ? 0.1 : 0.0;
  high_ = 1.0;
  bool found = false;
  for (const double value : values) {
    if (!can_show(value)) continue;
    low_ = found ? std::min(low_, value) : value;
    high_ = found ? std::max(high_, value) : value;
    found = true;
  }
  if (axis.min) low_ = *axis.min;
  if (axis.max) high_ = *axis.max;
  if (logarithmic_) {
    set_logarithmic(axis.min.has_value(), axis.max.has_value());
  } else {
    set_linear(axis.min.has_value(), axis.max.has_value());
  }
}

void ChartScale::set_linear(bool has_min, bool has_max) {
  if (high_ <= low_) {
    const double room = low_ == 0 ? 1 : std::abs(low_) * 0.1;
    if (!has_min) low_ -= room;
    high_ = std::max(high_, low_) + room;
  }
  const double step = round_step(high_ - low_);
  if (!has_min) low_ = std::floor(low_ / step + 1e-9) * step;
  if (!has_max) high_ = std::ceil(high_ / step - 1e-9) * step;
  for (double tick = std::ceil(low_ / step - 1e-9); tick * step <= high_ + step * 1e-9; ++tick) {
    ticks_.push_back(tick * step);
  }
}

void ChartScale::set_logarithmic(bool has_min, bool has_max) {
  if (!has_min) low_ /= 1.15;
  if (!has_max) high_ *= 1.15;
  if (high_ <= low_) high_ = low_ * 2;
  const bool is_wide = high_ / low_ > 300;
  for (double power = std::pow(10.0, std::floor(std::log10(low_))); power <= high_; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (is_wide && factor != 1.0) continue;
      const double tick = power * factor;
      if (tick >= low_ * (1 - 1e-9) && tick <= high_ * (1 + 1e-9)) ticks_.push_back(tick);
    }
  }
}

bool ChartScale::can_show(double value) const {
  return std::isfinite(value) && (!logarithmic_ || value > 0);
}

double ChartScale::place(double value) const {
  const double inside = std::clamp(value, low_, high_);
  const double share = logarithmic_ ? std::log(inside / low_) / std::log(high_ / low_)
                                    : (inside - low_) / (high_ - low_);
  return begin_ + share * (end_ - begin_);
}

std::string ChartScale::text(double value) const {
  const double shown = std::abs(value) < 1e-12 ? 0.0 : value;  // no "-0"
  return percent_ ? fmt::format("{:.4g} %", shown * 100) : fmt::format("{:.5g}", shown);
}

}  // namespace seer
