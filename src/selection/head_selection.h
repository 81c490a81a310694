// Choices over all blocks of a head at once, where a method knows no rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace seer {

// The `blocks` highest of each head: float32 scores [heads, rows, columns] to a bool mask of that shape. Among equal scores
// the last rows come first, in them the first columns; -inf is chosen last.
at::Tensor highest_of_heads(const at::Tensor& scores, std::int64_t blocks);

// Of each row of x [rows, n], which is not negative: the fewest numbers that sum to `share` of the row's, and at least
// `least` of them, from the largest on. Those of `first` (bool, like x; undefined: none) come before all others. Returns bool
// [rows, n].
at::Tensor fewest_with_mass(const at::Tensor& x, const at::Tensor& first, double share,
                            std::int64_t least);

}  // namespace seer
