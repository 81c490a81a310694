#pragma once

#include <cstddef>

#include "kernels/block_sparse_attention/params.h"

struct CUstream_st;  // what cudaStream_t points to

namespace seer {

// Bytes of device memory that one call of attention_cuda() with these parameters needs as workspace, on a GPU with that
// many multiprocessors.
std::size_t attention_cuda_workspace_bytes(const AttentionParams& params, int num_multiprocessors);

// Attention on a Hopper GPU, asynchronously on the stream: block-sparse where params has a block mask, dense where it
// has none, and with the block map where it asks for one. All pointers are of device memory.
//   elements    bfloat16 and float16
//   head_dim    64 and 128
//   block_size  64 and 128
//   alignment   q, k, v and out 16 bytes, and their strides multiples of 8 elements
//   scale       above 0
//   sizes       none is 0
// Throws std::runtime_error for what it does not know, and where a launch fails.
void attention_cuda(const AttentionParams& params, void* workspace, CUstream_st* stream);

}  // namespace seer
