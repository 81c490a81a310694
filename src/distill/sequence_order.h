// Which sequences training runs over, and in what order.
#pragma once

#include <cstdint>
#include <vector>

#include "seer/distill.h"
#include "training/data_ahead.h"

namespace seer {

// Sequences of one length follow each other. Of several lengths, DistillOptions::lengths says how many of each make a
// round; each round is in an order of its own.
class SequenceOrder {
 public:
  explicit SequenceOrder(const DistillOptions& options);

  // Of sequence number `number` of the training, from 0.
  SequencePlace at(std::int64_t number) const;
  // Of the first `count` sequences: the length of each, and all together.
  std::vector<std::int64_t> lengths(std::int64_t count) const;
  std::int64_t tokens(std::int64_t count) const;

 private:
  // The places of a round: the length of each.
  std::vector<std::int64_t> lengths_of_round(std::int64_t round) const;

  std::vector<LengthCount> lengths_;
  std::int64_t round_size_ = 0;
  std::uint64_t seed_;
};

}  // namespace seer
