#include "distill/sequence_order.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace seer {

SequenceOrder::SequenceOrder(const DistillOptions& options)
    : lengths_(options.lengths), seed_(options.seed) {
  if (lengths_.empty()) lengths_ = {{.length = options.context, .sequences = 1}};
  for (const LengthCount& count : lengths_) round_size_ += count.sequences;
}

std::vector<std::int64_t> SequenceOrder::lengths_of_round(std::int64_t round) const {
  std::vector<std::int64_t> order;
  for (const LengthCount& count : lengths_)
    order.insert(order.end(), static_cast<std::size_t>(count.sequences), count.length);
  std::mt19937_64 random(seed_ ^ (static_cast<std::uint64_t>(round) << 32));
  // Fisher and Yates; the standard shuffle may differ between libraries.
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

SequencePlace SequenceOrder::at(std::int64_t number) const {
  const std::int64_t round = number / round_size_;
  const std::vector<std::int64_t> order = lengths_of_round(round);
  const auto place = order.begin() + number % round_size_;
  const auto counted =
      std::find_if(lengths_.begin(), lengths_.end(),
                   [&](const LengthCount& count) { return count.length == *place; });
  return {.length = *place,
          .index = round * counted->sequences + std::count(order.begin(), place, *place)};
}

std::vector<std::int64_t> SequenceOrder::lengths(std::int64_t count) const {
  std::vector<std::int64_t> lengths;
  for (std::int64_t round = 0; round * round_size_ < count; ++round) {
    const std::vector<std::int64_t> order = lengths_of_round(round);
    lengths.insert(lengths.end(), order.begin(), order.end());
  }
  lengths.resize(static_cast<std::size_t>(count));
  return lengths;
}

std::int64_t SequenceOrder::tokens(std::int64_t count) const {
  const std::vector<std::int64_t> each = lengths(count);
  return std::accumulate(each.begin(), each.end(), std::int64_t{0});
}

}  // namespace seer
