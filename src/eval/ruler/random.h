// Numbers that are the same on every machine, which those of the standard library's distributions are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fnv1a.h"

namespace seer::ruler {

inline std::uint64_t hash_of(std::string_view text) {
  return fnv1a(text);
}

// SplitMix64 (Steele, Lea and Flood, 2014).
class Random {
 public:
  explicit Random(std::uint64_t state) : state_(state) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // 0 <= result < limit, limit > 0. The remainder's bias is limit / 2^64.
  std::int64_t below(std::int64_t limit) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(limit));
  }

  // A generator whose numbers have nothing to do with this one's.
  Random split(std::uint64_t part) const {
    Random mixed(state_);
    return Random(mixed.next() ^ (part * 0xd6e8feb86659fd93));
  }

  // Fisher and Yates.
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
    }
  }

 private:
  std::uint64_t state_;
};

// A place in [0, 1) that can be scaled to any number of gaps without rounding: it stays where it is while text grows.
struct Place {
  std::uint32_t fraction = 0;  // of 2^32

  static Place draw(Random& random) { return {static_cast<std::uint32_t>(random.next() >> 32)}; }
  // 0 to gaps - 1; gaps below 2^31.
  std::int64_t among(std::int64_t gaps) const {
    return static_cast<std::int64_t>((std::uint64_t{fraction} * static_cast<std::uint64_t>(gaps)) >>
                                     32);
  }
};

}  // namespace seer::ruler
