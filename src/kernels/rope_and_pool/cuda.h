#pragma once

#include "kernels/rope_and_pool/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// All rows, asynchronously on the stream; pointers, elements and alignment as in row_layers/cuda.h. What is turned has the
// bits of rope_cuda(), what is pooled those of pool_blocks() within the rounding of another order of the sums, the same on
// every run. Throws std::runtime_error where a launch fails.
void rope_and_pool_cuda(const RopeAndPoolParams& params, CUstream_st* stream);

}  // namespace seer
