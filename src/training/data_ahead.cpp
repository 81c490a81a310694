#include "training/data_ahead.h"

#include <functional>
#include <utility>

namespace seer {
namespace {

DataAhead::Sequences make(const TrainingData& data, const std::vector<SequencePlace>& places) {
  DataAhead::Sequences sequences;
  for (const SequencePlace& place : places)
    sequences.push_back(data.sequence(place.index, place.length));
  return sequences;
}

}  // namespace

DataAhead::Sequences DataAhead::take(const std::vector<SequencePlace>& places,
                                     std::vector<SequencePlace> next) {
  const bool is_coming = coming_.valid() && coming_places_ == places;
  Sequences sequences = is_coming ? coming_.get() : make(data_, places);
  coming_places_ = std::move(next);
  if (coming_places_.empty()) return sequences;
  coming_ = std::async(std::launch::async, make, std::cref(data_), coming_places_);
  return sequences;
}

}  // namespace seer
