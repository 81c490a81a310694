#include "distill/replay.h"

#include <c10/util/Exception.h>

#include <random>
#include <utility>

namespace seer {

void ReplayRing::add(SequenceExamples sequence) {
  kept_.push_back(std::move(sequence));
  if (static_cast<std::int64_t>(kept_.size()) > options_.replay_sequences) kept_.pop_front();
}

const SequenceExamples& ReplayRing::draw(std::int64_t number) const {
  TORCH_CHECK(!kept_.empty(), "replay: nothing is kept yet");
  std::mt19937_64 random(options_.seed ^ (static_cast<std::uint64_t>(number) << 32));
  return kept_[random() % kept_.size()];
}

}  // namespace seer
