// Attention's backward on a Hopper GPU (compute capability 9.0).
#pragma once

#include <cstddef>

#include "kernels/block_sparse_attention_backward/params.h"

struct CUstream_st;  // cudaStream_t

namespace seer {

// Bytes of scratch memory on the device that attention_backward_cuda() needs, on a GPU of `num_multiprocessors`. It grows with
// length and the mask's size, and not with the square of length.
std::size_t attention_backward_cuda_workspace_bytes(const AttentionBackwardParams& params,
                                                    int num_multiprocessors);

// Enqueues the three gradients on `stream` of the current device and returns. Params with pointers to the device's memory, and
//   element     kBFloat16 or kFloat16; head_dim 64 or 128; block_size 64 or 128
//   q, k, v, out, grad_out   16-byte aligned, strides multiples of 8 elements where a dimension is longer than 1
//   grad_q, grad_k, grad_v   the same; none of the inputs
//   scale       any; the one that lse was computed with
//   sizes       none is 0: without a query or a key there is nothing but zeros. batch * num_q_heads * query blocks below
//               2^31, query heads of a key/value head below 2^12
//   workspace   256-byte aligned, attention_backward_cuda_workspace_bytes() long, untouched until the work is done
// The same bits on every run. Throws std::runtime_error where the driver or a launch fails.
void attention_backward_cuda(const AttentionBackwardParams& params, void* workspace,
                             CUstream_st* stream);

}  // namespace seer
