#pragma once

#include "kernels/row_layers/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// All rows, asynchronously on the stream. Pointers are of device memory and aligned to their element at least; 16 bytes
// are moved at a time where pointers, strides and widths allow it. Elements: float32, bfloat16 and float16, with
// arithmetic in float32. The same bits on every run. Throw std::runtime_error where a launch fails.
void rms_norm_cuda(const RmsNormParams& params, CUstream_st* stream);
void rope_cuda(const RopeParams& params, CUstream_st* stream);
void swiglu_cuda(const SwigluParams& params, CUstream_st* stream);

}  // namespace seer
