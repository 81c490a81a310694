// Training data made while the model runs.
#pragma once

#include <cstdint>
#include <future>
#include <vector>

#include "seer/training_data.h"

namespace seer {

// Number `index` (from 0) of those with `length` tokens.
struct SequencePlace {
  std::int64_t length = 0;
  std::int64_t index = 0;
  bool operator==(const SequencePlace&) const = default;
};

// Takes sequences from `data` one step ahead, on a thread of its own. Waits for it at the end.
class DataAhead {
 public:
  using Sequences = std::vector<std::vector<TokenId>>;

  // `data` must outlive the object.
  explicit DataAhead(const TrainingData& data) : data_(data) {}

  // The sequences at `places`, and begins with those that are asked for next. Throws what the data throws.
  Sequences take(const std::vector<SequencePlace>& places, std::vector<SequencePlace> next);

 private:
  const TrainingData& data_;
  std::vector<SequencePlace> coming_places_;
  std::future<Sequences> coming_;
};

}  // namespace seer
