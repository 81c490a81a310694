#pragma once

#include "kernels/pool_blocks/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// All blocks, asynchronously on the stream. Pointers are of device memory and aligned to their element at least; 16 bytes
// are moved at a time where pointers, strides and head_dim allow it. Elements: float32, bfloat16 and float16. Maximum and
// minimum propagate NaN. The average sums in float32, in an order that depends on the shape alone: the same bits on every
// run, and within rounding those of the CPU. Throws std::runtime_error where a launch fails.
void pool_blocks_cuda(const PoolBlocksParams& params, CUstream_st* stream);

}  // namespace seer
