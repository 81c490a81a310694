// What the CUDA kernel asks for as scratch; computed on the host, so no GPU is needed.
#include <gtest/gtest.h>

#include <cstddef>

#include "kernels/block_sparse_attention/cuda.h"
#include "kernels/block_sparse_attention_backward/cuda.h"

namespace seer {
namespace {

constexpr int kMultiprocessors = 132;  // of an H100 or H200

AttentionParams long_prompt(std::int64_t block_size) {
  AttentionParams params;
  params.element = Element::kBFloat16;
  params.batch = 1;
  params.num_q_heads = 32;
  params.num_kv_heads = 8;
  params.q_len = params.kv_len = 131072;
  params.head_dim = 128;
  params.block_size = block_size;
  return params;
}

TEST(AttentionCudaWorkspace, StaysBelow70MegabytesAt131072Tokens) {
  constexpr std::size_t kMost = 70'000'000;
  float block_map = 0.0f;
  const std::uint8_t block_mask = 1;
  for (const std::int64_t block_size : {64, 128}) {
    AttentionParams params = long_prompt(block_size);
    EXPECT_LE(attention_cuda_workspace_bytes(params, kMultiprocessors), kMost) << "dense";
    params.block_map = &block_map;
    EXPECT_LE(attention_cuda_workspace_bytes(params, kMultiprocessors), kMost) << "block map";
    params.block_map = nullptr;
    params.block_mask = &block_mask;
    EXPECT_LE(attention_cuda_workspace_bytes(params, kMultiprocessors), kMost) << "block mask";
  }
}

TEST(AttentionCudaWorkspace, OfTheBackwardStaysBelow150MegabytesAt131072Tokens) {
  constexpr std::size_t kMost = 150'000'000;
  const std::uint8_t block_mask = 1;
  for (const std::int64_t block_size : {64, 128}) {
    AttentionBackwardParams params;
    params.forward = long_prompt(block_size);
    EXPECT_LE(attention_backward_cuda_workspace_bytes(params, kMultiprocessors), kMost) << "dense";
    params.forward.block_mask = &block_mask;
    EXPECT_LE(attention_backward_cuda_workspace_bytes(params, kMultiprocessors), kMost)
        << "block mask of " << block_size;
  }
}

}  // namespace
}  // namespace seer
