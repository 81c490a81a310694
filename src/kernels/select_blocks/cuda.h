#pragma once

#include "kernels/select_blocks/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// All rows of the mask, asynchronously on the stream; pointers are of device memory. Elements: float32 and bfloat16. Any
// number of key blocks below 2^31, but best up to 4096. The same bits on every run: counts are of integers, and sums are
// made in an order that depends on the shape alone.
//
// A score that the rule cannot use is no error here, since nobody waits for the device. NaN is the lowest of all scores;
// for kMass, NaN and negative scores count as 0 and infinity as the largest float32. Throws std::runtime_error where a
// launch fails.
void select_blocks_cuda(const SelectBlocksParams& params, CUstream_st* stream);

}  // namespace seer
