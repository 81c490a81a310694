#include "training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "base/quote.h"

namespace seer {

LearningRateSchedule parse_schedule(std::string_view name) {
  if (name == "linear") return LearningRateSchedule::kLinear;
  if (name == "cosine") return LearningRateSchedule::kCosine;
  throw std::invalid_argument("schedule " + quote(name) + ": expected linear or cosine");
}

std::string_view schedule_name(LearningRateSchedule schedule) {
  return schedule == LearningRateSchedule::kLinear ? "linear" : "cosine";
}

double scheduled_rate(LearningRateSchedule schedule, double highest, double final,
                      std::int64_t warmup_updates, std::int64_t updates, std::int64_t update) {
  if (update < warmup_updates)
    return highest * static_cast<double>(update + 1) / static_cast<double>(warmup_updates);
  const std::int64_t rest = std::max<std::int64_t>(1, updates - warmup_updates);
  const double progress =
      std::min(1.0, static_cast<double>(update - warmup_updates) / static_cast<double>(rest));
  const double left = schedule == LearningRateSchedule::kLinear
                          ? 1 - progress
                          : 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return final + (highest - final) * left;
}

}  // namespace seer
