#pragma once

#include "kernels/gate_representatives/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// Whether there is a kernel for these sizes: bfloat16 or float16 in, width 64 or 128, `in` a multiple of 64 up to 512.
bool has_gate_representatives_cuda(const GateRepresentativesParams& params);

// All representatives, asynchronously on the stream. Pointers are of device memory; pooled, map and reps 16-byte aligned
// with strides that are multiples of 8 elements, cos and sin 8-byte aligned with an even angle_stride. float32
// accumulation, and float32 from the product to the rounding of the result. The same bits on every run. Throws
// std::runtime_error where a launch fails.
void gate_representatives_cuda(const GateRepresentativesParams& params, int num_multiprocessors,
                               CUstream_st* stream);

}  // namespace seer
