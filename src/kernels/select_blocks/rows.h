// The rows of a mask, by the type of the scores: each is compiled in a file of its own.
#pragma once

#include "kernels/select_blocks/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer::selection {

// T: float or __nv_bfloat16, the type of the scores.
template <typename T>
void select_rows(const SelectBlocksParams& params, CUstream_st* stream);

}  // namespace seer::selection
