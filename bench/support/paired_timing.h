// Times several things side by side in one process, so that a slow minute of the machine meets all
// of them alike.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>
#include <vector>

namespace seer::bench {

// Seconds of each round, in order.
struct Samples {
  std::vector<double> seconds;

  double median() const;
  double min() const;
  double max() const;
};

struct Subject {
  std::string name;
  std::function<void()> call;
};

// Calls the subjects in turn, A B C A B C ..., first `warmup` rounds untimed, then `repeats` timed
// ones; on a GPU the time is that between events around a call. `before_call` runs before every
// call, outside the timing; it may throw to stop.
//   progress  called after every round with the number of rounds done, of all, and the seconds left
//             at the pace so far
std::vector<Samples> time_alternating(
    const std::vector<Subject>& subjects, c10::Device device, int warmup, int repeats,
    const std::function<void()>& before_call,
    const std::function<void(int done, int all, double seconds_left)>& progress);

// Median over the rounds of numerator / denominator: both of the same round.
double median_ratio(const Samples& numerator, const Samples& denominator);

}  // namespace seer::bench
