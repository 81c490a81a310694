// Times between points of a device's work.
#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <cstddef>
#include <vector>

#include <c10/core/Event.h>

namespace seer::bench {

// On a GPU a mark is an event in the current stream: it waits for nothing, and the times are those of the GPU's work. On
// the CPU it is a point in time.
class WorkMarks {
 public:
  explicit WorkMarks(c10::Device device) : device_(device) {}

  void mark();
  std::size_t count() const { return device_.is_cpu() ? times_.size() : events_.size(); }
  // Seconds from each mark to the next: one fewer than there are marks. Waits for the last.
  std::vector<double> seconds() const;
  void clear();

 private:
  c10::Device device_;
  std::vector<std::chrono::steady_clock::time_point> times_;
  std::vector<c10::Event> events_;
};

// Of one call of `work`.
template <typename Work>
double seconds_of(c10::Device device, const Work& work) {
  WorkMarks marks(device);
  marks.mark();
  work();
  marks.mark();
  return marks.seconds().front();
}

}  // namespace seer::bench
