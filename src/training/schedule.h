// How the learning rate goes.
#pragma once

#include <cstdint>
#include <string_view>

#include "seer/schedule.h"

namespace seer {

// Of update `update` (from 0) of `updates`: warm-up in equal steps to `highest`, then down to `final` along half a cosine
// or a straight line.
double scheduled_rate(LearningRateSchedule schedule, double highest, double final,
                      std::int64_t warmup_updates, std::int64_t updates, std::int64_t update);

}  // namespace seer
