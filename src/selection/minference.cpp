#include "selection/minference.h"

#include <ATen/TensorOperators.h>

#include <limits>

#include "selection/line_scores.h"

namespace seer {

at::Tensor minference_scores(const at::Tensor& q, const at::Tensor& k, const BlockGrid& grid,
                             std::int64_t last) {
  const LineSums sums = line_sums(attention_of_last(q, k, last), grid.block_size);
  const at::Tensor map =
      map_of_lines(sums.columns.amax(2), largest_of_diagonals(sums.distances), grid);
  return map.masked_fill(grid.ends_mask(1, 1, q.device()), std::numeric_limits<float>::infinity())
      .unsqueeze(0);
}

}  // namespace seer
