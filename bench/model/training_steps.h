// What the benchmarks of training share: the limits of their flags, and how steps are timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/support/paired_timing.h"
#include "seer/config.h"

namespace seer::bench {

// Throws std::invalid_argument that names the flag, its value and what is accepted.
void check_training_steps(const ModelConfig& config, std::int64_t length, std::int64_t batch_size,
                          int repeats, int warmup);

// time_alternating() with a line of progress after each round; before each call the device has nothing left to do.
std::vector<Samples> time_steps(const std::vector<Subject>& subjects, c10::Device device,
                                int warmup, int repeats, const std::function<void()>& before_call,
                                const std::function<void(const std::string&)>& say);

}  // namespace seer::bench
