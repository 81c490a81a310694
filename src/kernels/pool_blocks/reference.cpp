#include "kernels/pool_blocks/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "base/ceil_div.h"
#include "base/element_value.h"

namespace seer {
namespace {

template <typename T>
void pool(const PoolBlocksParams& params, std::int64_t block_begin, std::int64_t block_end) {
  const std::int64_t num_blocks = ceil_div(params.length, params.block_size);
  const std::int64_t kinds = params.max + params.min + params.avg;
  for (std::int64_t index = block_begin; index < block_end; ++index) {
    const std::int64_t block = index % num_blocks;
    const std::int64_t head = index / num_blocks % params.heads;
    const std::int64_t batch = index / num_blocks / params.heads;
    const std::int64_t first = block * params.block_size;
    const std::int64_t last = std::min(first + params.block_size, params.length);
    const T* x = static_cast<const T*>(params.x) + batch * params.x_strides.batch +
                 head * params.x_strides.head;
    T* out = static_cast<T*>(params.out) + index * kinds * params.head_dim;
    for (std::int64_t d = 0; d < params.head_dim; ++d) {
      double largest = -std::numeric_limits<double>::infinity();
      double smallest = std::numeric_limits<double>::infinity();
      double sum = 0.0;
      for (std::int64_t token = first; token < last; ++token) {
        const double value = widen(x[token * params.x_strides.row + d]);
        if (value > largest || std::isnan(value)) largest = value;
        if (value < smallest || std::isnan(value)) smallest = value;
        sum += value;
      }
      T* slot = out + d;
      if (params.max) narrow(largest, slot), slot += params.head_dim;
      if (params.min) narrow(smallest, slot), slot += params.head_dim;
      if (params.avg) narrow(sum / static_cast<double>(last - first), slot);
    }
  }
}

}  // namespace

void pool_blocks_reference(const PoolBlocksParams& params, std::int64_t block_begin,
                           std::int64_t block_end) {
  switch (params.element) {
    case Element::kFloat32: return pool<float>(params, block_begin, block_end);
    case Element::kBFloat16: return pool<std::uint16_t>(params, block_begin, block_end);
    case Element::kFloat64: return pool<double>(params, block_begin, block_end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "pool_blocks_reference: expected float32, bfloat16 or float64 elements");
}

}  // namespace seer
