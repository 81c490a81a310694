#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seer::test {

// Rows of choices, one per axis, such that every pair of choices of two axes stands together in
// some row: far fewer rows than the full product. `axis_sizes[a]` is the number of choices of axis
// a. The same arguments give the same rows.
std::vector<std::vector<std::size_t>> pairwise_rows(const std::vector<std::size_t>& axis_sizes,
                                                    std::uint64_t seed);

}  // namespace seer::test
