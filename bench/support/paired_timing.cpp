#include "bench/support/paired_timing.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "bench/support/work_marks.h"

namespace seer::bench {
namespace {

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

double Samples::median() const {
  return median_of(seconds);
}
double Samples::min() const {
  return *std::min_element(seconds.begin(), seconds.end());
}
double Samples::max() const {
  return *std::max_element(seconds.begin(), seconds.end());
}

std::vector<Samples> time_alternating(
    const std::vector<Subject>& subjects, c10::Device device, int warmup, int repeats,
    const std::function<void()>& before_call,
    const std::function<void(int done, int all, double seconds_left)>& progress) {
  using Clock = std::chrono::steady_clock;
  std::vector<Samples> samples(subjects.size());
  const auto start = Clock::now();
  for (int round = 0; round < warmup + repeats; ++round) {
    for (std::size_t subject = 0; subject < subjects.size(); ++subject) {
      before_call();
      const double taken = seconds_of(device, subjects[subject].call);
      if (round >= warmup) samples[subject].seconds.push_back(taken);
    }
    const std::chrono::duration<double> total = Clock::now() - start;
    const int done = round + 1;
    progress(done, warmup + repeats, total.count() / done * (warmup + repeats - done));
  }
  return samples;
}

double median_ratio(const Samples& numerator, const Samples& denominator) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < numerator.seconds.size(); ++round) {
    ratios.push_back(numerator.seconds[round] / denominator.seconds[round]);
  }
  return median_of(ratios);
}

}  // namespace seer::bench
