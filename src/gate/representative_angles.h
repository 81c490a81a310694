// RoPE's angles of representatives, on the device that needs them.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

#include "seer/rope.h"

namespace seer {

// rope_table(make_rope(rope, width), first_position, count, step) on the device, with the same bits. On a GPU tables are kept
// and shared by all gates, so that only the first call for a length waits for the copy, as long as first_position is a
// multiple of step.
RopeTable representative_angles(const RopeConfig& rope, std::int64_t width,
                                std::int64_t first_position, std::int64_t count, std::int64_t step,
                                c10::Device device);

}  // namespace seer
