#pragma once

#include "kernels/row_layers_backward/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// How many partial sums rms_norm_backward_cuda() wants: of this many rows times groups.
std::int64_t rms_norm_backward_parts(std::int64_t rows);

// All rows, asynchronously on the stream. Pointers are of device memory and aligned to their element at least; 16 bytes
// are moved at a time where pointers, strides and widths allow it. Elements: float32, bfloat16 and float16, with
// arithmetic in float32. The same bits on every run and on every GPU. Throw std::runtime_error where a launch fails.
void rms_norm_backward_cuda(const RmsNormBackwardParams& params, CUstream_st* stream);
void swiglu_backward_cuda(const SwigluBackwardParams& params, CUstream_st* stream);

}  // namespace seer
