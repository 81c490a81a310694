#include "kernels/block_sparse_attention_backward/cuda.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention/sm90/block_lists.h"
#include "kernels/block_sparse_attention_backward/sm90/arguments.cuh"
#include "kernels/block_sparse_attention_backward/sm90/columns.h"
#include "kernels/block_sparse_attention_backward/sm90/launch.h"
#include "kernels/block_sparse_attention_backward/sm90/row_stats.h"
#include "kernels/device/check.cuh"
#include "kernels/device/cuda.h"
#include "kernels/hopper/tensor_map.cuh"

namespace seer {
namespace {

// Dense attention is cut into blocks of 128 whatever the block size.
constexpr int kDenseBlock = 128;

int block_of(const AttentionParams& forward) {
  return forward.block_mask == nullptr ? kDenseBlock : static_cast<int>(forward.block_size);
}
// How many items of keys and values are worked on at a time: a group of each multiprocessor's each, see plan.h.
int slots_of(const AttentionParams& forward, int num_multiprocessors) {
  return num_multiprocessors * (128 / block_of(forward));
}
std::int64_t padded(std::int64_t q_len) {
  return ceil_div<std::int64_t>(q_len, 128) * 128;
}

// The parts of the workspace, in bytes from its beginning.
struct Workspace {
  std::size_t counters = 0, next_tile = 0, minus_lse = 0, delta = 0;
  std::size_t kept_queries = 0, query_blocks = 0, items = 0, column_items = 0, split_columns = 0;
  std::size_t order = 0, kept_count = 0, kept = 0, lists = 0, partials = 0, total = 0;

  Workspace(const AttentionParams& forward, const sm90::ColumnLimits& limits, int slots) {
    const auto take = [this](std::int64_t bytes) {
      const std::size_t begin = total;
      total += ceil_div<std::size_t>(static_cast<std::size_t>(bytes), 256) * 256;
      return begin;
    };
    const std::int64_t block = block_of(forward);
    const std::int64_t q_blocks = ceil_div(forward.q_len, block);
    const std::int64_t kv_blocks = ceil_div(forward.kv_len, block);
    const std::int64_t heads = forward.batch * forward.num_q_heads;
    counters = take(sizeof(sm90::ColumnCounters));
    next_tile = take(sizeof(int));
    minus_lse = take(heads * padded(forward.q_len) * 4);
    delta = take(heads * padded(forward.q_len) * 4);
    query_blocks = take(std::int64_t{limits.columns} * 4);
    items = take(limits.long_items * std::int64_t{sizeof(sm90::ColumnItem)});
    column_items = take(limits.columns * std::int64_t{sizeof(sm90::ColumnItem)});
    split_columns = take(limits.split_columns * std::int64_t{sizeof(sm90::SplitColumn)});
    if (forward.block_mask != nullptr) {
      order = take(heads * q_blocks * 4);
      kept_count = take(heads * q_blocks * 4);
      kept = take(heads * q_blocks * ceil_div<std::int64_t>(kv_blocks, 32) * 4);
      kept_queries = take(heads * kv_blocks * ceil_div<std::int64_t>(q_blocks, 32) * 4);
    }
    lists = take(slots * (forward.num_q_heads / forward.num_kv_heads) * q_blocks * 4);
    partials = take(limits.partials * 2 * block * forward.head_dim * 4);
  }
};

int multiprocessors() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  return cuda_device(device).num_multiprocessors;
}

// Sizes, and maps of what the kernels read in tiles.
sm90::BackwardArguments arguments_of(const AttentionBackwardParams& params) {
  const AttentionParams& forward = params.forward;
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const int block = block_of(forward);
  const auto map = [&](const void* data, std::int64_t heads, std::int64_t length,
                       const Strides& strides) {
    return hopper::make_tensor_map(data, forward.element, forward.batch, heads, length,
                                   forward.head_dim, strides, sm90::kTileRows);
  };
  sm90::BackwardArguments b = {};
  sm90::Arguments& a = b.forward;
  a.q = map(forward.q, forward.num_q_heads, forward.q_len, forward.q_strides);
  a.k = map(forward.k, forward.num_kv_heads, forward.kv_len, forward.k_strides);
  a.v = map(forward.v, forward.num_kv_heads, forward.kv_len, forward.v_strides);
  b.grad_out = map(params.grad_out, forward.num_q_heads, forward.q_len, params.grad_out_strides);
  a.batch = narrow(forward.batch);
  a.num_q_heads = narrow(forward.num_q_heads);
  a.num_kv_heads = narrow(forward.num_kv_heads);
  a.q_len = narrow(forward.q_len);
  a.kv_len = narrow(forward.kv_len);
  a.num_q_blocks = narrow(ceil_div<std::int64_t>(forward.q_len, block));
  a.num_kv_blocks = narrow(ceil_div<std::int64_t>(forward.kv_len, block));
  a.heads_per_kv_head = narrow(forward.num_q_heads / forward.num_kv_heads);
  a.causal_shift = narrow(forward.is_causal ? forward.kv_len - forward.q_len : forward.kv_len);
  a.scale_log2 = static_cast<float>(forward.scale * 1.4426950408889634);
  a.num_tiles = a.batch * a.num_q_heads * a.num_q_blocks;
  b.padded_q_len = narrow(padded(forward.q_len));
  b.grad_q = params.grad_q;
  b.grad_k = params.grad_k;
  b.grad_v = params.grad_v;
  b.grad_q_strides = params.grad_q_strides;
  b.grad_k_strides = params.grad_k_strides;
  b.grad_v_strides = params.grad_v_strides;
  b.scale = static_cast<float>(forward.scale);
  return b;
}

}  // namespace

std::size_t attention_backward_cuda_workspace_bytes(const AttentionBackwardParams& params,
                                                    int num_multiprocessors) {
  const AttentionParams& forward = params.forward;
  const int slots = slots_of(forward, num_multiprocessors);
  const sm90::ColumnLimits limits(forward, block_of(forward), slots);
  return Workspace(forward, limits, slots).total;
}

void attention_backward_cuda(const AttentionBackwardParams& params, void* workspace,
                             CUstream_st* stream) {
  const AttentionParams& forward = params.forward;
  const int num_multiprocessors = multiprocessors();
  const int block = block_of(forward);
  const int slots = slots_of(forward, num_multiprocessors);
  const sm90::ColumnLimits limits(forward, block, slots);
  const Workspace parts(forward, limits, slots);
  const auto at = [workspace]<typename T>(std::size_t offset, T*& pointer) {
    return pointer = reinterpret_cast<T*>(static_cast<char*>(workspace) + offset);
  };
  sm90::BackwardArguments b = arguments_of(params);
  sm90::Arguments& a = b.forward;
  at(parts.next_tile, a.next_tile);
  at(parts.counters, b.counters);
  check_cuda(cudaMemsetAsync(workspace, 0, parts.minus_lse, stream), "cudaMemsetAsync");

  sm90::RowStats stats = {.padded_q_len = b.padded_q_len};
  b.minus_lse = at(parts.minus_lse, stats.minus_lse);
  b.delta = at(parts.delta, stats.delta);

  if (forward.block_mask != nullptr) {
    sm90::BlockLists lists = {.next_tile = a.next_tile};
    a.kept = at(parts.kept, lists.kept);
    a.kept_count = at(parts.kept_count, lists.kept_count);
    a.order = at(parts.order, lists.order);
    sm90::make_block_lists(forward, lists, stream);
    a.kept_words = ceil_div(a.num_kv_blocks, 32);
    a.mask_heads_per_group = static_cast<int>(forward.mask_heads_per_group);
    a.mask_heads = a.num_q_heads / a.mask_heads_per_group;
    a.mask_has_batch = forward.batch > 1 && forward.mask_strides.batch != 0;
  }

  sm90::ColumnBuffers columns = {.counters = b.counters};
  at(parts.kept_queries, columns.kept_queries);
  at(parts.query_blocks, columns.query_blocks);
  b.items = at(parts.items, columns.items);
  b.column_items = at(parts.column_items, columns.column_items);
  b.split_columns = at(parts.split_columns, columns.split_columns);
  sm90::make_columns(forward, block, slots, columns, stream);
  sm90::make_row_stats(params, stats, stream);
  if (a.kept != nullptr) b.kept_queries = columns.kept_queries;
  b.query_words = ceil_div(a.num_q_blocks, 32);
  b.num_columns = limits.columns;
  at(parts.lists, b.lists);
  at(parts.partials, b.partials);

  const sm90::BackwardGrids grids = {
      .key_value_blocks = std::min(num_multiprocessors, limits.columns),
      .query_blocks = std::min(num_multiprocessors, a.num_tiles),
      .split_columns = limits.split_columns};
  const bool is_half = forward.element == Element::kFloat16;
  const auto launch = [&]<int kBlock, int kHeadDim>() {
    const auto function =
        is_half ? &sm90::launch_attention_backward<Element::kFloat16, kBlock, kHeadDim>
                : &sm90::launch_attention_backward<Element::kBFloat16, kBlock, kHeadDim>;
    function(b, grids, stream);
  };
  if (forward.head_dim == 64) {
    block == 64 ? launch.operator()<64, 64>() : launch.operator()<128, 64>();
  } else {
    block == 64 ? launch.operator()<64, 128>() : launch.operator()<128, 128>();
  }
}

}  // namespace seer
