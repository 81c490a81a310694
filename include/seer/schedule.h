// Learning rate schedules.
#pragma once

#include <string_view>

namespace seer {

enum class LearningRateSchedule { kLinear, kCosine };
LearningRateSchedule parse_schedule(
    std::string_view name);  // "linear", "cosine"; throws std::invalid_argument
std::string_view schedule_name(LearningRateSchedule schedule);

}  // namespace seer
