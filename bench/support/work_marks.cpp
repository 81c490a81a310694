#include "bench/support/work_marks.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace seer::bench {

void WorkMarks::mark() {
  if (device_.is_cpu()) {
    times_.push_back(std::chrono::steady_clock::now());
    return;
  }
  // The backend's default is an event with a time.
  events_.emplace_back(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  events_.back().record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
}

std::vector<double> WorkMarks::seconds() const {
  std::vector<double> seconds;
  if (device_.is_cpu()) {
    for (std::size_t i = 1; i < times_.size(); ++i) {
      seconds.push_back(std::chrono::duration<double>(times_[i] - times_[i - 1]).count());
    }
    return seconds;
  }
  if (!events_.empty()) events_.back().synchronize();
  for (std::size_t i = 1; i < events_.size(); ++i) {
    seconds.push_back(events_[i - 1].elapsedTime(events_[i]) / 1e3);
  }
  return seconds;
}

void WorkMarks::clear() {
  times_.clear();
  events_.clear();
}

}  // namespace seer::bench
