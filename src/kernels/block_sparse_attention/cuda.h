// Attention on a Hopper GPU (compute capability 9.0).
#pragma once

#include <cstddef>

#include "kernels/block_sparse_attention/params.h"

struct CUstream_st;  // cudaStream_t

namespace seer {

// Bytes of scratch memory on the device that attention_cuda() needs, on a GPU of `num_multiprocessors`. With a block map
// it grows with length and not with its square: 69 MB at 131,072 tokens on 132 multiprocessors.
std::size_t attention_cuda_workspace_bytes(const AttentionParams& params, int num_multiprocessors);

// Enqueues attention on `stream` of the current device and returns. Params as on the CPU, with pointers to the device's
// memory, and
//   element     kBFloat16 or kFloat16; head_dim 64 or 128; block_size 64 or 128
//   q, k, v     16-byte aligned, strides multiples of 8 elements where a dimension is longer than 1
//   out         the same; not q, k or v
//   block_mask  and block_map not both
//   scale       positive
//   sizes       batch * num_q_heads * query blocks below 2^31
//   workspace   256-byte aligned, attention_cuda_workspace_bytes() long, untouched until the work is done
// The same bits on every run. Throws std::runtime_error where the driver or a launch fails.
void attention_cuda(const AttentionParams& params, void* workspace, CUstream_st* stream);

}  // namespace seer
