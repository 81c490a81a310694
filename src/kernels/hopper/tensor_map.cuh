// Descriptions of tensors for the bulk copy engine.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "base/tensor_layout.h"

namespace seer::hopper {

// [batch, heads, length, head_dim] of two-byte elements, in boxes of `box_rows` rows of one head. In shared memory a box
// is [head_dim / 64][box_rows][64], its rows of 128 bytes swizzled as wgmma reads them (128-byte mode).
//   data     16-byte aligned; strides in elements, multiples of 8 where the dimension is longer than 1
//   head_dim a multiple of 64
// Throws std::runtime_error with the driver's error and the sizes.
CUtensorMap make_tensor_map(const void* data, Element element, std::int64_t batch,
                            std::int64_t heads, std::int64_t length, std::int64_t head_dim,
                            const Strides& strides, int box_rows);

}  // namespace seer::hopper
