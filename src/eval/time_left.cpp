#include "eval/time_left.h"

namespace seer {

void TimeLeft::finish(std::int64_t context, std::size_t policy, Clock::duration took) {
  Kind& kind = kinds_[{context, policy}];
  --kind.left;
  ++kind.done;
  kind.seconds += std::chrono::duration<double>(took).count();
}

double TimeLeft::seconds() const {
  double all_seconds = 0, all_tokens = 0;
  for (const auto& [key, kind] : kinds_) {
    all_seconds += kind.seconds;
    all_tokens += static_cast<double>(kind.done * key.first);
  }
  if (all_tokens == 0) return 0;
  double left = 0;
  for (const auto& [key, kind] : kinds_) {
    const double each = kind.done > 0 ? kind.seconds / static_cast<double>(kind.done)
                                      : all_seconds / all_tokens * static_cast<double>(key.first);
    left += each * static_cast<double>(kind.left);
  }
  return left;
}

}  // namespace seer
