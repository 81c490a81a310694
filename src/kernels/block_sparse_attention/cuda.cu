#include "kernels/block_sparse_attention/cuda.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention/sm90/arguments.cuh"
#include "kernels/block_sparse_attention/sm90/block_lists.h"
#include "kernels/block_sparse_attention/sm90/launch.h"
#include "kernels/device/check.cuh"
#include "kernels/device/cuda.h"
#include "kernels/hopper/tensor_map.cuh"

namespace seer {
namespace {

// Dense attention is computed in tiles of 128 whatever the block size of its map.
constexpr std::int64_t kDenseTile = 128;

std::int64_t tile_of(const AttentionParams& params) {
  return params.block_mask == nullptr ? kDenseTile : params.block_size;
}

// The parts of the workspace, in bytes from its beginning.
struct Workspace {
  std::size_t next_tile = 0, order = 0, kept_count = 0, kept = 0, row_maxima = 0, total = 0;

  Workspace(const AttentionParams& params, int num_multiprocessors) {
    std::size_t at = 0;
    const auto take = [&at](std::int64_t bytes) {
      const std::size_t begin = at;
      at += ceil_div<std::size_t>(static_cast<std::size_t>(bytes), 256) * 256;
      return begin;
    };
    next_tile = take(sizeof(int));
    if (params.block_mask != nullptr) {
      const std::int64_t tiles =
          params.batch * params.num_q_heads * ceil_div(params.q_len, params.block_size);
      order = take(tiles * 4);
      kept_count = take(tiles * 4);
      kept =
          take(tiles * ceil_div<std::int64_t>(ceil_div(params.kv_len, params.block_size), 32) * 4);
    }
    if (params.block_map != nullptr) {
      const std::int64_t tiles = ceil_div(params.kv_len, kDenseTile);
      row_maxima = take(num_multiprocessors * tiles * kDenseTile * 2 * 2);
    }
    total = at;
  }
};

int multiprocessors() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  return cuda_device(device).num_multiprocessors;
}

template <Element kElement, int kHeadDim>
void launch(const AttentionParams& params, const sm90::Arguments& arguments, int thread_blocks,
            CUstream_st* stream) {
  if (params.block_map != nullptr) {
    sm90::launch_attention<kElement, 128, kHeadDim, true>(arguments, thread_blocks, stream);
  } else if (tile_of(params) == 128) {
    sm90::launch_attention<kElement, 128, kHeadDim, false>(arguments, thread_blocks, stream);
  } else {
    sm90::launch_attention<kElement, 64, kHeadDim, false>(arguments, thread_blocks, stream);
  }
}

}  // namespace

std::size_t attention_cuda_workspace_bytes(const AttentionParams& params, int num_multiprocessors) {
  return Workspace(params, num_multiprocessors).total;
}

void attention_cuda(const AttentionParams& params, void* workspace, CUstream_st* stream) {
  if (params.batch * params.num_q_heads * params.q_len == 0) return;
  const int num_multiprocessors = multiprocessors();
  const Workspace parts(params, num_multiprocessors);
  const auto at = [workspace](std::size_t offset) {
    return static_cast<void*>(static_cast<char*>(workspace) + offset);
  };
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const int tile = narrow(tile_of(params));

  sm90::Arguments a = {};
  a.q = hopper::make_tensor_map(params.q, params.element, params.batch, params.num_q_heads,
                                params.q_len, params.head_dim, params.q_strides, tile);
  if (params.kv_len > 0) {
    a.k = hopper::make_tensor_map(params.k, params.element, params.batch, params.num_kv_heads,
                                  params.kv_len, params.head_dim, params.k_strides, tile);
    a.v = hopper::make_tensor_map(params.v, params.element, params.batch, params.num_kv_heads,
                                  params.kv_len, params.head_dim, params.v_strides, tile);
  }
  a.out = params.out;
  a.out_batch_stride = params.out_strides.batch;
  a.out_head_stride = params.out_strides.head;
  a.out_row_stride = params.out_strides.row;
  a.lse = params.lse;
  a.batch = narrow(params.batch);
  a.num_q_heads = narrow(params.num_q_heads);
  a.num_kv_heads = narrow(params.num_kv_heads);
  a.q_len = narrow(params.q_len);
  a.kv_len = narrow(params.kv_len);
  a.num_q_blocks = narrow(ceil_div<std::int64_t>(params.q_len, tile));
  a.num_kv_blocks = narrow(ceil_div<std::int64_t>(params.kv_len, tile));
  a.heads_per_kv_head = narrow(params.num_q_heads / params.num_kv_heads);
  a.causal_shift = narrow(params.is_causal ? params.kv_len - params.q_len : params.kv_len);
  a.scale_log2 = static_cast<float>(params.scale * 1.4426950408889634);
  a.num_tiles = a.batch * a.num_q_heads * a.num_q_blocks;
  a.next_tile = static_cast<int*>(at(parts.next_tile));

  if (params.block_mask != nullptr && params.kv_len > 0) {
    auto* const order = static_cast<int*>(at(parts.order));
    auto* const kept_count = static_cast<int*>(at(parts.kept_count));
    auto* const kept = static_cast<std::uint32_t*>(at(parts.kept));
    sm90::make_block_lists(params, {kept, kept_count, order, a.next_tile}, stream);
    a.order = order;
    a.kept = kept;
    a.kept_count = kept_count;
    a.kept_words = ceil_div(a.num_kv_blocks, 32);
    a.mask_heads_per_group = narrow(params.mask_heads_per_group);
    a.mask_heads = narrow(params.num_q_heads / params.mask_heads_per_group);
    a.mask_has_batch = params.batch > 1 && params.mask_strides.batch != 0;
  } else {
    check_cuda(cudaMemsetAsync(a.next_tile, 0, sizeof(int), stream), "cudaMemsetAsync");
  }
  if (params.block_map != nullptr) {
    a.block_map = params.block_map;
    a.map_block = narrow(params.block_size);
    a.map_q_blocks = narrow(ceil_div(params.q_len, params.block_size));
    a.map_kv_blocks = narrow(ceil_div(params.kv_len, params.block_size));
    a.row_maxima = static_cast<std::uint16_t*>(at(parts.row_maxima));
    a.row_maxima_tiles = a.num_kv_blocks;
  }

  const int thread_blocks = std::min(num_multiprocessors, a.num_tiles);
  const bool is_half = params.element == Element::kFloat16;
  if (params.head_dim == 64) {
    is_half ? launch<Element::kFloat16, 64>(params, a, thread_blocks, stream)
            : launch<Element::kBFloat16, 64>(params, a, thread_blocks, stream);
  } else {
    is_half ? launch<Element::kFloat16, 128>(params, a, thread_blocks, stream)
            : launch<Element::kBFloat16, 128>(params, a, thread_blocks, stream);
  }
}

}  // namespace seer
