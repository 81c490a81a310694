#include "kernels/select_blocks/cpu.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>

#include "base/bfloat16.h"

namespace seer {
namespace {

constexpr int kBucketBits = 8;
// Neighbouring keys are added to different copies of the buckets: they often fall into the same
// one, and each addition would wait for the one before.
constexpr std::int64_t kCopies = 4;
constexpr std::size_t kBucketBytes =
    (std::size_t{1} << kBucketBits) * kCopies * sizeof(std::int64_t);
constexpr std::int64_t kFewKeys = 16;  // so few are sorted rather than put into buckets

float widen(float x) {
  return x;
}
float widen(std::uint16_t bfloat16) {
  return bfloat16_to_float(bfloat16);
}

// Integers in the order of the scores: the bits of a float, with the magnitude of negative ones
// turned around. -0 becomes 0, so that the two tie.
std::int32_t key_of(float score) {
  const auto bits = std::bit_cast<std::int32_t>(score + 0.0f);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
constexpr std::int32_t kKeyOfInfinity = 0x7f800000;
constexpr std::int32_t kKeyOfMinusInfinity = ~kKeyOfInfinity;  // of NaN: outside the two
constexpr std::int32_t kKeyOfZero = 0;

struct KeyRange {
  std::int32_t lowest = kKeyOfInfinity;
  std::int32_t highest = kKeyOfMinusInfinity;
};

struct Scratch {
  std::int32_t* keys;        // [num_kv_blocks]
  std::int32_t* candidates;  // [num_kv_blocks]
  void* buckets;             // [1 << kBucketBits, kCopies] sums of 8 bytes
};

// Kept are the keys above `key` and the first `ties` of those equal to it.
struct Cutoff {
  std::int32_t key = 0;
  std::int64_t ties = 0;
};

// What a key adds to the sum that has to reach a target.
struct CountWeight {
  using Sum = std::int64_t;
  static Sum of(std::int32_t) { return 1; }
};
struct ScoreWeight {  // of scores that are not negative
  using Sum = double;
  static Sum of(std::int32_t key) { return std::bit_cast<float>(key); }
};

KeyRange range_of(const std::int32_t* keys, std::int64_t count) {
  KeyRange range = {keys[0], keys[0]};
  for (std::int64_t i = 1; i < count; ++i) {
    range.lowest = std::min(range.lowest, keys[i]);
    range.highest = std::max(range.highest, keys[i]);
  }
  return range;
}

// Adds the keys, which are sorted from the highest, until the target is reached or none is left.
template <class Weight>
Cutoff cutoff_of_sorted(const std::int32_t* keys, std::int64_t count, typename Weight::Sum taken,
                        typename Weight::Sum target) {
  std::int64_t kept = 0;
  do {
    taken += Weight::of(keys[kept++]);
  } while (kept < count && taken < target);
  const std::int32_t key = keys[kept - 1];
  if (kept == count || keys[kept] != key) return {key - 1, 0};  // all that are equal are kept
  std::int64_t ties = 1;
  while (ties < kept && keys[kept - 1 - ties] == key) ++ties;
  return {key, ties};
}

// The cutoff at which the highest keys reach the target, at least one. Keys are counted in buckets
// of equal width, from the highest down; the bucket in which the target is reached is cut into
// buckets again, until few keys or equal ones are left. The highest and the lowest key lie in
// different buckets, so that every round excludes some.
template <class Weight>
Cutoff find_cutoff(const std::int32_t* keys, std::int64_t count, KeyRange range,
                   typename Weight::Sum target, const Scratch& scratch) {
  using Sum = typename Weight::Sum;
  using Bucket = Sum[kCopies];
  Bucket* buckets = static_cast<Bucket*>(scratch.buckets);
  Sum taken = 0;
  while (count > kFewKeys && range.lowest != range.highest) {
    const auto highest = static_cast<std::uint32_t>(range.highest);
    const std::uint32_t width = highest - static_cast<std::uint32_t>(range.lowest);
    const int shift = std::max(0, static_cast<int>(std::bit_width(width)) - kBucketBits);
    const std::uint32_t last = width >> shift;
    std::memset(buckets, 0, (last + 1) * sizeof(Bucket));
    const auto add = [&](std::int64_t index, std::int64_t copy) {
      const std::int32_t key = keys[index];
      buckets[(highest - static_cast<std::uint32_t>(key)) >> shift][copy] += Weight::of(key);
    };
    std::int64_t i = 0;
    for (; i + kCopies <= count; i += kCopies) {
      for (std::int64_t copy = 0; copy < kCopies; ++copy) add(i + copy, copy);
    }
    for (; i < count; ++i) add(i, 0);

    std::uint32_t reached = 0;
    for (; reached < last; ++reached) {
      const Bucket& bucket = buckets[reached];
      const Sum sum = (bucket[0] + bucket[1]) + (bucket[2] + bucket[3]);
      if (taken + sum >= target) break;
      taken += sum;
    }

    std::int64_t inside = 0;
    for (i = 0; i < count; ++i) {
      const std::int32_t key = keys[i];
      scratch.candidates[inside] = key;
      inside += (highest - static_cast<std::uint32_t>(key)) >> shift == reached;
    }
    keys = scratch.candidates;
    count = inside;
    range = range_of(keys, count);
  }
  if (keys != scratch.candidates) std::copy(keys, keys + count, scratch.candidates);
  if (range.lowest != range.highest) {
    std::sort(scratch.candidates, scratch.candidates + count, std::greater<>());
  }
  return cutoff_of_sorted<Weight>(scratch.candidates, count, taken, target);
}

Cutoff find_mass_cutoff(const SelectBlocksParams& params, std::int64_t visible, KeyRange range,
                        const Scratch& scratch) {
  double total = 0.0;
  for (std::int64_t i = 0; i < visible; ++i) total += ScoreWeight::of(scratch.keys[i]);
  if (total == 0.0) return {kKeyOfZero, 1};
  if (params.mass == 1.0) return {kKeyOfZero, 0};
  const Cutoff cutoff =
      find_cutoff<ScoreWeight>(scratch.keys, visible, range, params.mass * total, scratch);
  // Rounding may leave the sum of all just below the target: a block without mass adds nothing.
  return cutoff.key < kKeyOfZero ? Cutoff{kKeyOfZero, 0} : cutoff;
}

void write_row(const std::int32_t* keys, std::int64_t visible, Cutoff cutoff, std::uint8_t* mask) {
  for (std::int64_t i = 0; i < visible; ++i) mask[i] = keys[i] > cutoff.key;
  for (std::int64_t i = 0; cutoff.ties > 0; ++i) {
    if (keys[i] != cutoff.key) continue;
    mask[i] = 1;
    --cutoff.ties;
  }
}

template <typename T>
KeyRange write_keys(const T* scores, std::int64_t visible, std::int32_t* keys) {
  for (std::int64_t i = 0; i < visible; ++i) keys[i] = key_of(widen(scores[i]));
  return range_of(keys, visible);
}

// Returns the index of the first score that the rule cannot use.
template <typename T>
std::int64_t find_bad(const T* scores, bool is_mass) {
  std::int64_t i = 0;
  while (!(std::isnan(widen(scores[i])) ||
           (is_mass && (widen(scores[i]) < 0.0f || std::isinf(widen(scores[i])))))) {
    ++i;
  }
  return i;
}

// Applies the rule to one row that sees at least one block. Returns false at a bad score.
template <typename T>
bool select_row(const SelectBlocksParams& params, const T* scores, std::int64_t visible,
                std::uint8_t* mask, const Scratch& scratch) {
  if (params.rule == SelectionRule::kThreshold) {
    const auto threshold = static_cast<float>(params.threshold);
    std::uint8_t any_nan = 0;
    for (std::int64_t i = 0; i < visible; ++i) {
      const float score = widen(scores[i]);
      mask[i] = score > threshold;
      any_nan |= score != score;
    }
    return any_nan == 0;
  }
  const KeyRange range = write_keys(scores, visible, scratch.keys);
  const bool is_mass = params.rule == SelectionRule::kMass;
  if (is_mass ? range.lowest < kKeyOfZero || range.highest >= kKeyOfInfinity
              : range.lowest < kKeyOfMinusInfinity || range.highest > kKeyOfInfinity) {
    return false;
  }
  if (is_mass) {
    write_row(scratch.keys, visible, find_mass_cutoff(params, visible, range, scratch), mask);
  } else if (params.top_blocks >= visible) {
    std::memset(mask, 1, visible);
  } else {
    const Cutoff cutoff =
        find_cutoff<CountWeight>(scratch.keys, visible, range, params.top_blocks, scratch);
    write_row(scratch.keys, visible, cutoff, mask);
  }
  return true;
}

// The blocks that the last query of the row sees, which no other query of the row exceeds.
std::int64_t count_visible(const SelectBlocksParams& params, std::int64_t q_block) {
  const std::int64_t last_query = std::min((q_block + 1) * params.block_size, params.q_len) - 1;
  const std::int64_t last_key = last_query + params.kv_len - params.q_len;
  return last_key < 0 ? 0 : last_key / params.block_size + 1;
}

template <typename T>
BadScore select_rows(const SelectBlocksParams& params, std::int64_t position_begin,
                     std::int64_t position_end, const Scratch& scratch) {
  for (std::int64_t position = position_begin; position < position_end; ++position) {
    const SelectionRow row = selection_row(params, position);
    const std::int64_t visible = count_visible(params, row.q_block);
    std::uint8_t* mask =
        params.mask + ((row.batch * params.heads + row.head) * params.num_q_blocks + row.q_block) *
                          params.num_kv_blocks;
    std::memset(mask + visible, 0, params.num_kv_blocks - visible);
    if (visible == 0) continue;
    if (params.rule == SelectionRule::kAll) {
      std::memset(mask, 1, visible);
      continue;
    }
    const T* scores =
        static_cast<const T*>(params.scores) + row.batch * params.scores_strides.batch +
        row.head * params.scores_strides.head + row.q_block * params.scores_strides.row;
    if (!select_row(params, scores, visible, mask, scratch)) {
      const std::int64_t bad = find_bad(scores, params.rule == SelectionRule::kMass);
      return {position, bad, widen(scores[bad])};
    }
    if (row.q_block >= params.num_q_blocks - params.dense_rows) {
      std::memset(mask, 1, visible);
    } else {
      const std::int64_t local = std::min(params.local, visible);
      std::memset(mask, 1, std::min(params.sink, visible));
      std::memset(mask + visible - local, 1, local);
    }
  }
  return {};
}

}  // namespace

std::size_t select_blocks_scratch_bytes(const SelectBlocksParams& params) {
  return kBucketBytes + 2 * static_cast<std::size_t>(params.num_kv_blocks) * sizeof(std::int32_t);
}

BadScore select_blocks_cpu(const SelectBlocksParams& params, std::int64_t position_begin,
                           std::int64_t position_end, void* scratch) {
  Scratch parts;
  parts.buckets = scratch;
  parts.keys = reinterpret_cast<std::int32_t*>(static_cast<std::byte*>(scratch) + kBucketBytes);
  parts.candidates = parts.keys + params.num_kv_blocks;
  switch (params.element) {
    case Element::kFloat32: return select_rows<float>(params, position_begin, position_end, parts);
    case Element::kBFloat16:
      return select_rows<std::uint16_t>(params, position_begin, position_end, parts);
    case Element::kFloat16:
    case Element::kFloat64: break;
  }
  throw std::invalid_argument("select_blocks_cpu: expected float32 or bfloat16 scores");
}

}  // namespace seer
