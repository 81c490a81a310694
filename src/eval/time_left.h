// How long the samples that are left will take.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace seer {

// Samples of one context and policy take about the same time; those of a context or policy that was not met yet are
// guessed from the tokens per second of all.
class TimeLeft {
 public:
  using Clock = std::chrono::steady_clock;

  void add(std::int64_t context, std::size_t policy) { ++kinds_[{context, policy}].left; }
  void finish(std::int64_t context, std::size_t policy, Clock::duration took);
  double seconds() const;

 private:
  struct Kind {
    std::int64_t left = 0, done = 0;
    double seconds = 0;
  };
  std::map<std::pair<std::int64_t, std::size_t>, Kind> kinds_;
};

}  // namespace seer
