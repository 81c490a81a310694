#include "kernels/block_sparse_attention/sm90/block_lists.h"

#include <cuda_runtime.h>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/hopper/dependent_launch.cuh"

namespace seer::sm90 {
namespace {

struct MaskArguments {
  const std::uint8_t* mask;
  std::int64_t batch_stride, head_stride, row_stride;
  int heads, num_q_blocks, num_kv_blocks, words;
  int rows;  // batch * heads * num_q_blocks
  int block_size, q_len, kv_len, causal_shift;
};

// Sixteen bytes of 0 or 1 as bits.
__device__ std::uint32_t bits_of(uint4 bytes) {
  const auto four = [](std::uint32_t x) { return (x & 0x01010101u) * 0x10204080u >> 28; };
  return four(bytes.x) | four(bytes.y) << 4 | four(bytes.z) << 8 | four(bytes.w) << 12;
}

// One warp a row.
__global__ void __launch_bounds__(256) pack_mask(const MaskArguments a, BlockLists lists) {
  hopper::let_dependents_start();
  if (blockIdx.x == 0 && threadIdx.x == 0) *lists.next_tile = 0;
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (row >= a.rows) return;
  const int q_block = row % a.num_q_blocks;
  const int head = row / a.num_q_blocks % a.heads;
  const int batch = row / a.num_q_blocks / a.heads;
  const std::uint8_t* const bytes =
      a.mask + batch * a.batch_stride + head * a.head_stride + q_block * a.row_stride;

  const int last_row = min((q_block + 1) * a.block_size, a.q_len) - 1;
  const int last_key = min(last_row + a.causal_shift, a.kv_len - 1);
  const int visible = last_key < 0 ? 0 : last_key / a.block_size + 1;

  const bool wide = reinterpret_cast<std::uintptr_t>(bytes) % 16 == 0;
  std::uint32_t* const to = lists.kept + static_cast<std::int64_t>(row) * a.words;
  int count = 0;
  for (int first = 0; first < a.words; first += 32) {
    const int word = first + lane;
    std::uint32_t bits = 0;
    const int from = word * 32;
    if (from < visible) {
      if (wide && from + 32 <= a.num_kv_blocks) {
        const uint4* const both = reinterpret_cast<const uint4*>(bytes + from);
        bits = bits_of(both[0]) | bits_of(both[1]) << 16;
      } else {
        for (int k = 0; k < 32 && from + k < a.num_kv_blocks; ++k) {
          bits |= static_cast<std::uint32_t>(bytes[from + k] & 1) << k;
        }
      }
      if (from + 32 > visible) bits &= (1u << (visible - from)) - 1;
    }
    if (word < a.words) to[word] = bits;
    count += __popc(bits);
  }
  for (int step = 16; step > 0; step /= 2) count += __shfl_xor_sync(~0u, count, step);
  if (lane == 0) lists.kept_count[row] = count;
}

struct OrderArguments {
  int heads_per_kv_head, num_q_heads, num_kv_heads, num_q_blocks;
  int mask_heads, mask_heads_per_group;
  bool mask_has_batch;
  int num_kv_blocks;
};

constexpr int kOrderThreads = 1024;
constexpr int kBuckets = 1024;

// One thread block for each batch and key/value head: a counting sort by length.
__global__ void __launch_bounds__(kOrderThreads)
    order_tiles(const OrderArguments a, BlockLists lists) {
  __shared__ int place[kBuckets];
  __shared__ int warp_sum[kOrderThreads / 32];
  const int batch = blockIdx.x / a.num_kv_heads;
  const int first_head = blockIdx.x % a.num_kv_heads * a.heads_per_kv_head;
  const int num_tiles = a.heads_per_kv_head * a.num_q_blocks;

  // Tile i of the segment: the heads of a query block next to each other, the last query block first.
  const auto head_of = [&](int i) { return first_head + i % a.heads_per_kv_head; };
  const auto q_block_of = [&](int i) { return a.num_q_blocks - 1 - i / a.heads_per_kv_head; };
  const auto bucket_of = [&](int i) {  // longest first
    const int mask_batch = a.mask_has_batch ? batch : 0;
    const std::int64_t row = (static_cast<std::int64_t>(mask_batch) * a.mask_heads +
                              head_of(i) / a.mask_heads_per_group) *
                                 a.num_q_blocks +
                             q_block_of(i);
    const std::int64_t count = lists.kept_count[row];
    return static_cast<int>((a.num_kv_blocks - count) * (kBuckets - 1) / a.num_kv_blocks);
  };

  hopper::let_dependents_start();
  hopper::wait_for_predecessor();
  const int thread = threadIdx.x;
  place[thread] = 0;
  __syncthreads();
  for (int i = thread; i < num_tiles; i += kOrderThreads) atomicAdd(&place[bucket_of(i)], 1);
  __syncthreads();
  // Exclusive sums of the buckets.
  const int own = place[thread];
  int sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(~0u, sum, step);
    if (thread % 32 >= step) sum += before;
  }
  if (thread % 32 == 31) warp_sum[thread / 32] = sum;
  __syncthreads();
  for (int warp = 0; warp < thread / 32; ++warp) sum += warp_sum[warp];
  place[thread] = sum - own;
  __syncthreads();
  int* const order = lists.order + static_cast<std::int64_t>(blockIdx.x) * num_tiles;
  for (int i = thread; i < num_tiles; i += kOrderThreads) {
    order[atomicAdd(&place[bucket_of(i)], 1)] =
        (batch * a.num_q_heads + head_of(i)) * a.num_q_blocks + q_block_of(i);
  }
}

}  // namespace

void make_block_lists(const AttentionParams& params, const BlockLists& lists, CUstream_st* stream) {
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const int num_q_blocks = narrow(ceil_div(params.q_len, params.block_size));
  const int num_kv_blocks = narrow(ceil_div(params.kv_len, params.block_size));
  const int mask_heads = narrow(params.num_q_heads / params.mask_heads_per_group);
  const bool mask_has_batch = params.batch > 1 && params.mask_strides.batch != 0;
  const MaskArguments mask = {
      .mask = params.block_mask,
      .batch_stride = params.mask_strides.batch,
      .head_stride = params.mask_strides.head,
      .row_stride = params.mask_strides.row,
      .heads = mask_heads,
      .num_q_blocks = num_q_blocks,
      .num_kv_blocks = num_kv_blocks,
      .words = ceil_div(num_kv_blocks, 32),
      .rows = narrow(mask_has_batch ? params.batch : 1) * mask_heads * num_q_blocks,
      .block_size = narrow(params.block_size),
      .q_len = narrow(params.q_len),
      .kv_len = narrow(params.kv_len),
      .causal_shift = narrow(params.is_causal ? params.kv_len - params.q_len : params.kv_len)};
  pack_mask<<<ceil_div(mask.rows, 8), 256, 0, stream>>>(mask, lists);
  check_launch("pack_mask");
  const OrderArguments order = {
      .heads_per_kv_head = narrow(params.num_q_heads / params.num_kv_heads),
      .num_q_heads = narrow(params.num_q_heads),
      .num_kv_heads = narrow(params.num_kv_heads),
      .num_q_blocks = num_q_blocks,
      .mask_heads = mask_heads,
      .mask_heads_per_group = narrow(params.mask_heads_per_group),
      .mask_has_batch = mask_has_batch,
      .num_kv_blocks = num_kv_blocks};
  hopper::launch_dependent("order_tiles", &order_tiles, narrow(params.batch * params.num_kv_heads),
                           kOrderThreads, 0, stream, order, lists);
}

}  // namespace seer::sm90
