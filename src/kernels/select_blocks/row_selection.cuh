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
constexpr std::uint32_t kKeyOfInfinity = 0x7f800000u;     // among keys of probabilities
constexpr std::uint32_t kKeyOfLargestFloat = 0x7f7fffffu;

// In the order of the scores, from 1. NaN ranks last, and -0 as 0.
__device__ __forceinline__ std::uint32_t key_of_score(float score) {
  const std::uint32_t bits = __float_as_uint(score + 0.0f);
  const std::uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return score != score ? 1u : key;
}
// The bits of a score that is not negative; 0 for one that is, and for NaN.
__device__ __forceinline__ std::uint32_t key_of_probability(float score) {
  return score > 0.0f ? __float_as_uint(score) : 0u;
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
  std::uint32_t keys[kPerLane];

  // Calls function(key) for the keys of this lane.
  template <typename Function>
  __device__ __forceinline__ void for_each(const Function& function) const {
#pragma unroll
    for (int r = 0; r < kPerLane; ++r) function(keys[r]);
  }
  // Calls function(keys, place of the first) for neighbouring four; all lanes of a warp come to each call together.
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
    const int lane = static_cast<int>(threadIdx.x % 32);
    for (int chunk = 0; chunk < visible; chunk += 128) {
      const int place = chunk + 4 * lane;
      std::uint32_t four[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) four[i] = place + i < visible ? key_at(place + i) : 0u;
      function(four, place);
    }
  }
};

__device__ __forceinline__ double sum_of_warp(double value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kWarp, value, step);
  return value;
}
__device__ __forceinline__ float sum_of_warp(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kWarp, value, step);
  return value;
}
__device__ __forceinline__ float max_of_warp(float value) {
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
// The smallest and the largest key that are there.
template <typename Row>
__device__ __forceinline__ std::uint32_t smallest_key(const Row& row, std::uint32_t above) {
  std::uint32_t smallest = 0xffffffffu;
  row.for_each([&](std::uint32_t key) { smallest = key > above ? min(smallest, key) : smallest; });
  return __reduce_min_sync(kWarp, smallest);
}
template <typename Row>
__device__ __forceinline__ std::uint32_t largest_key(const Row& row, std::uint32_t below) {
  std::uint32_t largest = 0;
  row.for_each([&](std::uint32_t key) { largest = key < below ? max(largest, key) : largest; });
  return __reduce_max_sync(kWarp, largest);
}

// Of the `wanted` highest keys, 1 <= wanted < the number of keys that are there.
template <typename Row>
__device__ __forceinline__ Cutoff top_cutoff(const Row& row, int wanted) {
  // At least `wanted` keys are `low` or more, fewer are more than `high`.
  std::uint32_t low = smallest_key(row, 0u), high = largest_key(row, 0xffffffffu);
  while (low < high) {
    const std::uint32_t middle = high - (high - low) / 2;
    const int count = count_from(row, middle);
    if (count == wanted) return {middle - 1, 0};
    if (count > wanted) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return {low, wanted - count_from(row, low + 1)};
}

// Of the fewest keys whose values sum to `mass` of the row's total; keys are of probabilities.
template <typename Row>
__device__ __forceinline__ Cutoff mass_cutoff(const Row& row, double mass) {
  const auto value_of = [](std::uint32_t key) { return __uint_as_float(key); };
  double own_total = 0.0;
  row.for_each([&](std::uint32_t key) { own_total += value_of(key); });
  const double total = sum_of_warp(own_total);
  if (total == 0.0) return {0u, 1};
  if (mass == 1.0) return {0u, 0};
  const double target = mass * total;

  // Near the place by float32 sums: those from `low` on reach the target, those from `high` + 1 on do not.
  std::uint32_t low = smallest_key(row, 0u), high = largest_key(row, 0xffffffffu);
  const auto narrow_target = static_cast<float>(target);
  while (low < high) {
    const std::uint32_t middle = high - (high - low) / 2;
    float own = 0.0f;
    row.for_each([&](std::uint32_t key) { own += key >= middle ? value_of(key) : 0.0f; });
    if (sum_of_warp(own) >= narrow_target) {
      low = middle;
    } else {
      high = middle - 1;
      if (count_from(row, low) - count_from(row, middle) <= 1) break;
    }
  }
  std::uint32_t key = largest_key(row, high + 1);

  // And to the place by float64 sums: the keys above `key` stay below the target, those equal to it reach it.
  bool went_up = false;
  while (true) {
    double own = 0.0;
    int own_equal = 0;
    row.for_each([&](std::uint32_t other) {
      own += other > key ? static_cast<double>(value_of(other)) : 0.0;
      own_equal += other == key;
    });
    double taken = sum_of_warp(own);
    const int equal = __reduce_add_sync(kWarp, own_equal);
    if (taken >= target) {
      const std::uint32_t next = smallest_key(row, key);
      if (next == 0xffffffffu) return {key - 1, 0};  // cannot be but by rounding: the highest alone
      key = next;
      went_up = true;
      continue;
    }
    int ties = 0;
    do {
      taken += value_of(key);
      ++ties;
    } while (ties < equal && taken < target);
    if (taken < target && !went_up) {
      const std::uint32_t next = largest_key(row, key);
      // Rounding may leave the sum of all just below the target: a block without mass adds nothing.
      if (next == 0u) return {0u, 0};
      key = next;
      continue;
    }
    return {key, ties};
  }
}

// What a row keeps whatever its scores are.
struct RowEnds {
  int visible;      // blocks that the row sees: the first of all
  int sink, local;  // the first and the last of them that are kept
};

// Four mask bytes at `place` of a row of `length`; `is_aligned` says that they can be written as one.
__device__ __forceinline__ void store_four(std::uint8_t* row, int place, int length,
                                           std::uint32_t bytes, bool is_aligned) {
  if (is_aligned && place + 4 <= length) {
    *reinterpret_cast<std::uint32_t*>(row + place) = bytes;
    return;
  }
  for (int i = 0; i < 4 && place + i < length; ++i)
    row[place + i] = static_cast<std::uint8_t>(bytes >> (8 * i));
}

// Places [from, length) of a row get `value`, 0 or 1, in bytes; `from` is a multiple of 4.
__device__ __forceinline__ void fill_row(std::uint8_t* row, int from, int length,
                                         std::uint32_t value, bool is_aligned) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int place = from + 4 * lane; place < length; place += 128)
    store_four(row, place, length, value * 0x01010101u, is_aligned);
}

// The row of a query block that keeps all it sees.
__device__ __forceinline__ void write_dense_row(int visible, std::uint8_t* mask, int length,
                                                bool is_aligned) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int place = 4 * lane; place < length; place += 128) {
    std::uint32_t bytes = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) bytes |= (place + i < visible ? 1u : 0u) << (8 * i);
    store_four(mask, place, length, bytes, is_aligned);
  }
}

// The place behind the last of the `ties` first keys equal to `key`.
template <typename Row>
__device__ __forceinline__ int end_of_ties(const Row& row, std::uint32_t key, int ties,
                                           int visible) {
  if (ties == 0) return 0;
  int low = 1, high = visible;
  while (low < high) {
    const int middle = (low + high) / 2;
    int own = 0;
    row.for_each_four([&](const std::uint32_t (&keys)[4], int place) {
#pragma unroll
      for (int i = 0; i < 4; ++i) own += keys[i] == key && place + i < middle;
    });
    if (__reduce_add_sync(kWarp, own) >= ties) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

template <typename Row>
__device__ __forceinline__ void write_row(const Row& row, Cutoff cutoff, const RowEnds& ends,
                                          std::uint8_t* mask, int length, bool is_aligned) {
  const int first_local = ends.visible - ends.local;
  const int ties_end = end_of_ties(row, cutoff.key, cutoff.ties, ends.visible);
  int written = 0;
  row.for_each_four([&](const std::uint32_t (&keys)[4], int place) {
    std::uint32_t bytes = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int block = place + i;
      const bool is_chosen = keys[i] > cutoff.key || (keys[i] == cutoff.key && block < ties_end);
      const bool is_at_end = block < ends.sink || (block >= first_local && block < ends.visible);
      bytes |= (is_chosen || is_at_end ? 1u : 0u) << (8 * i);
    }
    if (place < length) store_four(mask, place, length, bytes, is_aligned);
    written += 128;
  });
  fill_row(mask, written, length, 0u, is_aligned);
}

// The rule's cutoff in a row that sees `visible` > 0 blocks; its keys are of scores for kTopBlocks and of probabilities for
// the other rules.
template <typename Row>
__device__ __forceinline__ Cutoff cutoff_of(const Row& row, SelectionRule rule, int visible,
                                            int top_blocks, float threshold, double mass) {
  if (rule == SelectionRule::kThreshold) return {__float_as_uint(threshold), 0};
  if (rule == SelectionRule::kMass) return mass_cutoff(row, mass);
  return top_blocks >= visible ? Cutoff{0u, 0} : top_cutoff(row, top_blocks);
}

// Key blocks that the last query of a query block sees any of, which no other query of it exceeds.
__device__ __forceinline__ int visible_blocks(std::int64_t q_block, std::int64_t block_size,
                                              std::int64_t q_len, std::int64_t kv_len) {
  const std::int64_t end = (q_block + 1) * block_size;
  const std::int64_t last_key = (end < q_len ? end : q_len) - 1 + kv_len - q_len;
  return last_key < 0 ? 0 : static_cast<int>(last_key / block_size) + 1;
}

}  // namespace seer::selection
