// Sequences that gates learn from again.
#pragma once

#include <cstdint>
#include <deque>

#include "seer/distill.h"
#include "training/gate_example.h"

namespace seer {

// The last sequences that went through the model.
class ReplayRing {
 public:
  explicit ReplayRing(const DistillOptions& options) : options_(options) {}

  void add(SequenceExamples sequence);
  // One of them, the newest included, drawn from the seed and the draw's number. Not empty.
  const SequenceExamples& draw(std::int64_t number) const;

 private:
  const DistillOptions& options_;
  std::deque<SequenceExamples> kept_;
};

}  // namespace seer
