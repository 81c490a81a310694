// The choice of one row's key blocks by one warp.
//
// Scores become keys: unsigned integers in the order in which blocks are kept, 0 for blocks that are not there. A rule
// turns the keys of a row into a cutoff, and the cutoff into the row of the mask. No key is sorted: the cutoff is found by
// bisection over the keys' bits, with counts or sums over the row.
//
// A warp holds a row in chunks of 128 blocks, four neighbouring ones a lane: the place of key `r` of a lane is
// r / 4 * 128 + 4 * lane + r % 4.
#pragma once

#include <cstdint>

#include "kernels/select_blocks/params.h"

namespace seer::selection {

constexpr unsigned kWarp = 0xffffffffu;
constexpr std::uint32_t kKeyOfLargestFloat = 0x7f7fffffu;  // among keys of probabilities

// In the order of the scores, from 1. NaN ranks last, and -0 as 0.
__device__ __forceinline__ std::uint32_t key_of_score(float score) {
  const std::uint32_t bits = __float_as_uint(score + 0.0f);
  const auto sign = static_cast<std::uint32_t>(static_cast<std::int32_t>(bits) >> 31);
  return score != score ? 1u : bits ^ (sign | 0x80000000u);
}
// The bits of a score that is not negative; 0 for one that is, and for NaN.
__device__ __forceinline__ std::uint32_t key_of_probability(float score) {
  return __float_as_uint(fmaxf(score, 0.0f));
}

// Kept are the keys above `key` and the first `ties` of those equal to it.
struct Cutoff {
  std::uint32_t key;
  int ties;
};

// A row whose keys are in registers.
template <int kPerLane>
struct RegisterRow {
  static_assert(kPerLane % 4 == 0);
  static constexpr int kLength = kPerLane * 32;
  std::uint32_t keys[kPerLane];

  // Calls function(key) for the keys of this lane.
  template <typename Function>
  __device__ __forceinline__ void for_each(const Function& function) const {
#pragma unroll
    for (int r = 0; r < kPerLane; ++r) function(keys[r]);
  }
  // Calls function(keys, place of the first) for neighbouring four.
  template <typename Function>
  __device__ __forceinline__ void for_each_four(const Function& function) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
    for (int r = 0; r < kPerLane; r += 4) {
      const std::uint32_t four[4] = {keys[r], keys[r + 1], keys[r + 2], keys[r + 3]};
      function(four, r * 32 + 4 * lane);
    }
  }
};

// A row too long for registers: key_at(place) reads it again for each pass.
template <typename KeyAt>
struct MemoryRow {
  KeyAt key_at;
  int visible;

  template <typename Function>
  __device__ __forceinline__ void for_each(const Function& function) const {
    for (int place = static_cast<int>(threadIdx.x % 32); place < visible; place += 32)
      function(key_at(place));
  }
  template <typename Function>
  __device__ __forceinline__ void for_each_four(const Function& function) const {
    for (int place = 4 * static_cast<int>(threadIdx.x % 32); place < visible; place += 128) {
      std::uint32_t four[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) four[i] = place + i < visible ? key_at(place + i) : 0u;
      function(four, place);
    }
  }
};

template <typename Value>
__device__ __forceinline__ Value sum_of_warp(Value value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kWarp, value, step);
  return value;
}
__device__ __forceinline__ float max_of_warp(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(kWarp, value, step));
  return value;
}

template <typename Row>
__device__ __forceinline__ int count_from(const Row& row, std::uint32_t lowest) {
  int count = 0;
  row.for_each([&](std::uint32_t key) { count += key >= lowest; });
  return __reduce_add_sync(kWarp, count);
}
// The smallest key above `limit` and the largest below; all bits, or 0, where there is none.
template <typename Row>
__device__ __forceinline__ std::uint32_t smallest_above(const Row& row, std::uint32_t limit) {
  std::uint32_t smallest = 0xffffffffu;
  row.for_each([&](std::uint32_t key) { smallest = key > limit ? min(smallest, key) : smallest; });
  return __reduce_min_sync(kWarp, smallest);
}
template <typename Row>
__device__ __forceinline__ std::uint32_t largest_below(const Row& row, std::uint32_t limit) {
  std::uint32_t largest = 0;
  row.for_each([&](std::uint32_t key) { largest = key < limit ? max(largest, key) : largest; });
  return __reduce_max_sync(kWarp, largest);
}

// What key_of_score() made the key of. NaN for the keys of NaN and infinity's neighbours.
__device__ __forceinline__ float score_of_key(std::uint32_t key) {
  const auto sign = static_cast<std::uint32_t>(static_cast<std::int32_t>(key) >> 31);
  return __uint_as_float(key ^ (~sign | 0x80000000u));
}

// Of the `wanted` highest keys, 1 <= wanted < the number of keys that are there; keys are of scores.
//
// A search between two keys by the Illinois rule (Dowell and Jarratt, A modified regula falsi method, BIT 11, 1971) on
// the number of keys above, with scores as abscissas: a few passes over the row, where bisection takes one for each bit
// that tells the neighbours of the cutoff apart.
template <typename Row>
__device__ __forceinline__ Cutoff top_cutoff(const Row& row, int wanted) {
  constexpr int kPassesBeforeBisection = 12;
  std::uint32_t low = 0xffffffffu, high = 0;
  int there = 0;
  row.for_each([&](std::uint32_t key) {
    there += key != 0u;
    low = min(low, key - 1u);  // no key wraps around to the largest
    high = max(high, key);
  });
  low = __reduce_min_sync(kWarp, low) + 1u;
  high = __reduce_max_sync(kWarp, high);
  // Keys from `low` on are `wanted` or more, above `high` fewer: by so many, with Illinois' halving.
  auto surplus = static_cast<float>(__reduce_add_sync(kWarp, there) - wanted);
  auto lack = static_cast<float>(wanted);
  int side = 0;
  for (int pass = 0; low < high; ++pass) {
    std::uint32_t middle = high - (high - low) / 2;
    const float low_score = score_of_key(low), high_score = score_of_key(high);
    const float between = low_score + (high_score - low_score) * (surplus / (surplus + lack));
    if (pass < kPassesBeforeBisection && between >= low_score && between <= high_score)
      middle = min(max(key_of_score(between), low + 1u), high);
    const int count = count_from(row, middle);
    if (count == wanted) return {middle - 1, 0};
    if (count > wanted) {
      low = middle;
      surplus = static_cast<float>(count - wanted);
      if (side > 0) lack *= 0.5f;
      side = 1;
    } else {
      high = middle - 1;
      lack = static_cast<float>(wanted - count);
      if (side < 0) surplus *= 0.5f;
      side = -1;
    }
  }
  return {low, wanted - count_from(row, low + 1)};
}

// Made anew at each use: kept from one pass to the next, a row's would fill the registers.
__device__ __forceinline__ double widened_value(std::uint32_t key) {
  double value;
  asm volatile("cvt.f64.f32 %0, %1;" : "=d"(value) : "f"(__uint_as_float(key)));
  return value;
}

// Of the fewest keys whose values sum to `mass` of the row's total; keys are of probabilities.
template <typename Row>
__device__ __forceinline__ Cutoff mass_cutoff(const Row& row, double mass) {
  const auto value_of = [](std::uint32_t key) { return __uint_as_float(key); };
  double own_total = 0.0;
  row.for_each([&](std::uint32_t key) { own_total += widened_value(key); });
  const double total = sum_of_warp(own_total);
  if (total == 0.0) return {0u, 1};
  if (mass == 1.0) return {0u, 0};
  const double target = mass * total;

  // Near the place by float32 sums: those from `low` on reach the target, those from `high` + 1 on do not.
  std::uint32_t low = smallest_above(row, 0u), high = largest_below(row, 0xffffffffu);
  const auto narrow_target = static_cast<float>(target);
  while (low < high) {
    const std::uint32_t middle = high - (high - low) / 2;
    float own = 0.0f;
    row.for_each([&](std::uint32_t key) { own += key >= middle ? value_of(key) : 0.0f; });
    if (sum_of_warp(own) >= narrow_target) {
      low = middle;
    } else {
      high = middle - 1;
      // One key left: it need not be found bit by bit.
      int between = 0;
      row.for_each([&](std::uint32_t key) { between += key >= low && key <= high; });
      if (__reduce_add_sync(kWarp, between) <= 1) break;
    }
  }
  std::uint32_t key = largest_below(row, high + 1);

  // And to the place by float64 sums: the keys above `key` stay below the target, those equal to it reach it.
  bool went_up = false;
  while (true) {
    double own = 0.0;
    int own_equal = 0;
    row.for_each([&](std::uint32_t other) {
      own += other > key ? widened_value(other) : 0.0;
      own_equal += other == key;
    });
    double taken = sum_of_warp(own);
    const int equal = __reduce_add_sync(kWarp, own_equal);
    if (taken >= target) {
      key = smallest_above(row, key);
      went_up = true;
      continue;
    }
    int ties = 0;
    do {
      taken += value_of(key);
      ++ties;
    } while (ties < equal && taken < target);
    if (taken >= target || went_up) return {key, ties};
    key = largest_below(row, key);
    // Rounding may leave the sum of all just below the target: a block without mass adds nothing.
    if (key == 0u) return {0u, 0};
  }
}

// The place behind the last of the `ties` first keys equal to `key`.
template <typename Row>
__device__ __forceinline__ int end_of_ties(const Row& row, Cutoff cutoff, int visible) {
  int low = 1, high = visible;
  while (low < high) {
    const int middle = (low + high) / 2;
    int own = 0;
    row.for_each_four([&](const std::uint32_t(&keys)[4], int place) {
#pragma unroll
      for (int i = 0; i < 4; ++i) own += keys[i] == cutoff.key && place + i < middle;
    });
    if (__reduce_add_sync(kWarp, own) >= cutoff.ties) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// A row of the mask, and what of it is kept whatever the scores are.
struct MaskRow {
  std::uint8_t* bytes;  // [length]
  int length;
  bool is_aligned;  // to 4 bytes, length included
  int visible;      // blocks that the row sees: the first of all
  int sink, local;  // the first and the last of them that are kept, at most `visible`

  __device__ __forceinline__ void store_four(int place, std::uint32_t four) const {
    if (is_aligned) {
      *reinterpret_cast<std::uint32_t*>(bytes + place) = four;
      return;
    }
    for (int i = 0; i < 4 && place + i < length; ++i)
      bytes[place + i] = static_cast<std::uint8_t>(four >> (8 * i));
  }
  // 0 from `place`, a multiple of 4, to the end.
  __device__ __forceinline__ void clear_from(int place) const {
    for (place += 4 * static_cast<int>(threadIdx.x % 32); place < length; place += 128)
      store_four(place, 0u);
  }
  __device__ __forceinline__ void keep(int begin, int end) const {
    for (int place = begin + static_cast<int>(threadIdx.x % 32); place < end; place += 32)
      bytes[place] = 1;
  }
  // All that the row sees.
  __device__ __forceinline__ void keep_visible() const {
    for (int place = 4 * static_cast<int>(threadIdx.x % 32); place < length; place += 128) {
      std::uint32_t four = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) four |= (place + i < visible ? 1u : 0u) << (8 * i);
      store_four(place, four);
    }
  }
};

template <typename Row>
__device__ __forceinline__ void write_row(const Row& row, Cutoff cutoff, const MaskRow& mask) {
  row.for_each_four([&](const std::uint32_t(&keys)[4], int place) {
    if (place >= mask.length) return;
    std::uint32_t four = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) four |= keys[i] > cutoff.key ? 1u << (8 * i) : 0u;
    mask.store_four(place, four);
  });
  if constexpr (requires { Row::kLength; }) {
    mask.clear_from(Row::kLength);
  } else {
    mask.clear_from((mask.visible + 127) / 128 * 128);
    // The last chunk is written by the lanes that see some of it.
    for (int place = (mask.visible + 3) / 4 * 4 + static_cast<int>(threadIdx.x % 32);
         place < min(mask.length, (mask.visible + 127) / 128 * 128); place += 32)
      mask.bytes[place] = 0;
  }
  // Over what other lanes wrote.
  __syncwarp();
  if (cutoff.ties > 0) {
    const int end = end_of_ties(row, cutoff, mask.visible);
    row.for_each_four([&](const std::uint32_t(&keys)[4], int place) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (keys[i] == cutoff.key && place + i < end) mask.bytes[place + i] = 1;
      }
    });
  }
  mask.keep(0, mask.sink);
  mask.keep(mask.visible - mask.local, mask.visible);
}

// What a rule needs beside the keys, which are of scores for kTopBlocks and of probabilities for the other rules.
struct RuleValues {
  int top_blocks;
  float threshold;
  double mass;
};

template <SelectionRule kRule, typename Row>
__device__ __forceinline__ void select_row(const Row& row, const RuleValues& values,
                                           const MaskRow& mask) {
  Cutoff cutoff = {0u, 0};
  if constexpr (kRule == SelectionRule::kThreshold) {
    cutoff.key = __float_as_uint(values.threshold);
  } else if constexpr (kRule == SelectionRule::kMass) {
    cutoff = mass_cutoff(row, values.mass);
  } else {
    if (values.top_blocks < mask.visible) cutoff = top_cutoff(row, values.top_blocks);
  }
  write_row(row, cutoff, mask);
}

// Key blocks that a query block sees any of: its last query sees the most. `of_first` is 1 + ceil((kv_len - q_len) /
// block_size), which may be negative.
__device__ __forceinline__ int visible_blocks(int q_block, int of_first, int num_kv_blocks) {
  return min(max(q_block + of_first, 0), num_kv_blocks);
}

}  // namespace seer::selection
