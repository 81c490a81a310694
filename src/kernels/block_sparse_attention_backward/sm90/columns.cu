#include "kernels/block_sparse_attention_backward/sm90/columns.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention_backward/sm90/arguments.cuh"
#include "kernels/device/check.cuh"
#include "kernels/hopper/dependent_launch.cuh"

namespace seer::sm90 {
namespace {

constexpr int kShareOfLong = 8;   // a slot's share over this is a long column
constexpr int kLeastOfItem = 32;  // query blocks; shorter ones cost more than they balance

struct ColumnArguments {
  const std::uint8_t* mask;
  std::int64_t batch_stride, head_stride, row_stride;
  int mask_batch, mask_heads, mask_heads_per_group;
  int num_q_heads, num_kv_heads, heads_per_kv_head;
  int num_q_blocks, num_kv_blocks, query_words;
  int block, q_len, kv_len, causal_shift;
  int columns, slots;

  // Number (batch * num_kv_heads + kv head) * num_kv_blocks + key block.
  __device__ Column column_of(int id) const {
    const int row = id / num_kv_blocks;
    return {row / num_kv_heads, row % num_kv_heads, id % num_kv_blocks};
  }
  __device__ int visible_blocks(int q_block) const {
    const int last_row = min((q_block + 1) * block, q_len) - 1;
    const int last_key = min(last_row + causal_shift, kv_len - 1);
    return last_key < 0 ? 0 : last_key / block + 1;
  }
};

// One warp for 32 query blocks by 32 key blocks of a mask head: a lane gathers a key block's word.
__global__ void __launch_bounds__(256)
    transpose_mask(const ColumnArguments a, std::uint32_t* kept_queries) {
  hopper::let_dependents_start();
  const int lane = threadIdx.x % 32;
  const int groups = (a.num_kv_blocks + 31) / 32;
  const int warp = blockIdx.x * 8 + threadIdx.x / 32;
  const int key_block = warp % groups * 32 + lane;
  const int word = warp / groups % a.query_words;
  const int row = warp / groups / a.query_words;  // of batch and mask head
  if (row >= a.mask_batch * a.mask_heads) {
    hopper::wait_for_predecessor();
    return;
  }
  const std::uint8_t* const bytes =
      a.mask + row / a.mask_heads * a.batch_stride + row % a.mask_heads * a.head_stride;
  std::uint32_t bits = 0;
#pragma unroll 8
  for (int k = 0; k < 32; ++k) {
    const int q_block = word * 32 + k;
    if (q_block < a.num_q_blocks && key_block < a.visible_blocks(q_block)) {
      bits |= static_cast<std::uint32_t>(bytes[q_block * a.row_stride + key_block] & 1) << k;
    }
  }
  if (key_block < a.num_kv_blocks) {
    kept_queries[(static_cast<std::int64_t>(row) * a.num_kv_blocks + key_block) * a.query_words +
                 word] = bits;
  }
  hopper::
      wait_for_predecessor();  // so that what follows this kernel also follows the one before it
}

// One warp a column.
__global__ void __launch_bounds__(256) count_columns(const ColumnArguments a, ColumnBuffers to) {
  __shared__ unsigned long long of_warp[8];
  hopper::let_dependents_start();
  hopper::wait_for_predecessor();
  const int lane = threadIdx.x % 32;
  const int id = blockIdx.x * 8 + threadIdx.x / 32;
  int count = 0;
  if (id < a.columns) {
    const auto [batch, kv_head, key_block] = a.column_of(id);
    if (a.mask == nullptr) {
      const int first_query = key_block * a.block - a.causal_shift;
      const int first = first_query <= 0 ? 0 : min(first_query / a.block, a.num_q_blocks);
      count = (a.num_q_blocks - first) * a.heads_per_kv_head;
    } else {
      for (int i = lane; i < a.heads_per_kv_head * a.query_words; i += 32) {
        const int head =
            (kv_head * a.heads_per_kv_head + i / a.query_words) / a.mask_heads_per_group;
        const int mask_row = (a.mask_batch > 1 ? batch : 0) * a.mask_heads + head;
        count += __popc(
            to.kept_queries[(static_cast<std::int64_t>(mask_row) * a.num_kv_blocks + key_block) *
                                a.query_words +
                            i % a.query_words]);
      }
      for (int step = 16; step > 0; step /= 2) count += __shfl_xor_sync(~0u, count, step);
    }
    if (lane == 0) to.query_blocks[id] = count;
  }
  if (lane == 0) of_warp[threadIdx.x / 32] = count;
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned long long sum = 0;
    for (const unsigned long long part : of_warp) sum += part;
    atomicAdd(&to.counters->query_blocks, sum);
  }
}

constexpr int kThreads = 1024;
constexpr int kBuckets = kThreads;

// Exclusive sums over the buckets, one a thread.
__device__ void sum_buckets(int* buckets) {
  __shared__ int warp_sum[kThreads / 32];
  const int thread = threadIdx.x;
  const int own = buckets[thread];
  int sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(~0u, sum, step);
    if (thread % 32 >= step) sum += before;
  }
  if (thread % 32 == 31) warp_sum[thread / 32] = sum;
  __syncthreads();
  for (int warp = 0; warp < thread / 32; ++warp) sum += warp_sum[warp];
  buckets[thread] = sum - own;
  __syncthreads();
}

// Longest first: the bucket of a length in [0, longest].
__device__ int bucket_of(std::int64_t length, std::int64_t longest) {
  return static_cast<int>((longest - length) * (kBuckets - 1) / max(longest, std::int64_t{1}));
}

// A slot's even share of the work decides what is long and what is split, so that both depend on the mask and the device
// alone.
struct Cut {
  std::int64_t share, most;

  __device__ Cut(const ColumnArguments& a, const ColumnCounters& counters)
      : share((static_cast<std::int64_t>(counters.query_blocks) + a.slots - 1) / a.slots),
        most(max((share + 1) / 2, std::int64_t{kLeastOfItem})) {}
  __device__ bool is_long(int length) const {
    return std::int64_t{length} * kShareOfLong > share || length > most;
  }
  __device__ int items(int length) const { return static_cast<int>((length + most - 1) / most); }
};

// The last thread block cuts and sorts the long columns; each other one sorts those of a key/value head, among which long ones
// leave gaps.
__global__ void __launch_bounds__(kThreads)
    order_columns(const ColumnArguments a, ColumnBuffers to) {
  __shared__ int place[kBuckets];
  __shared__ int num_partials, num_split;
  hopper::let_dependents_start();
  hopper::wait_for_predecessor();
  const int thread = threadIdx.x;
  const Cut cut(a, *to.counters);
  const bool sorts_long = blockIdx.x == gridDim.x - 1;
  const int from = sorts_long ? 0 : static_cast<int>(blockIdx.x) * a.num_kv_blocks;
  const int until = sorts_long ? a.columns : from + a.num_kv_blocks;
  const std::int64_t longest =
      sorts_long ? cut.most : std::int64_t{a.heads_per_kv_head} * a.num_q_blocks;

  place[thread] = 0;
  if (thread == 0) num_partials = num_split = 0;
  __syncthreads();
  for (int id = from + thread; id < until; id += kThreads) {
    const int length = to.query_blocks[id];
    if (sorts_long && cut.is_long(length)) {
      const int items = cut.items(length);
      atomicAdd(&place[bucket_of(length / items, longest)], items);
    } else if (!sorts_long) {
      atomicAdd(&place[bucket_of(length, longest)], 1);
    }
  }
  __syncthreads();
  sum_buckets(place);
  for (int id = from + thread; id < until; id += kThreads) {
    const int length = to.query_blocks[id];
    if (!sorts_long) {
      const int at = from + atomicAdd(&place[bucket_of(length, longest)], 1);
      const Column column = cut.is_long(length) ? Column{-1, 0, 0} : a.column_of(id);
      to.column_items[at] = {column, 0, length, -1};
    } else if (cut.is_long(length)) {
      const int items = cut.items(length);
      const int at = atomicAdd(&place[bucket_of(length / items, longest)], items);
      const int partial = items > 1 ? atomicAdd(&num_partials, items) : -1;
      for (int i = 0; i < items; ++i) {
        const int first = static_cast<int>(std::int64_t{length} * i / items);
        const int next = static_cast<int>(std::int64_t{length} * (i + 1) / items);
        to.items[at + i] = {a.column_of(id), first, next - first, items > 1 ? partial + i : -1};
      }
      if (items > 1) to.split_columns[atomicAdd(&num_split, 1)] = {a.column_of(id), partial, items};
    }
  }
  if (!sorts_long) return;
  __syncthreads();
  if (thread == 0) to.counters->num_split = num_split;
  if (thread == kBuckets - 1) to.counters->num_long = place[thread];
}

}  // namespace

// With n query blocks in all and m in the longest item, m >= n / (2 slots): a split column of length l has at most 2 l / m
// items, and there are at most n / m split columns.
ColumnLimits::ColumnLimits(const AttentionParams& params, int block, int slots) {
  const std::int64_t q_blocks = ceil_div<std::int64_t>(params.q_len, block);
  const std::int64_t all =
      params.batch * params.num_kv_heads * ceil_div<std::int64_t>(params.kv_len, block);
  const std::int64_t most_work = all * q_blocks * (params.num_q_heads / params.num_kv_heads);
  columns = static_cast<int>(all);
  split_columns =
      static_cast<int>(std::min<std::int64_t>({2 * slots, most_work / kLeastOfItem, all}));
  partials = static_cast<int>(std::min<std::int64_t>(4 * slots, 2 * most_work / kLeastOfItem));
  long_items = static_cast<int>(std::min<std::int64_t>(kShareOfLong * slots, all)) + partials;
}

void make_columns(const AttentionParams& params, int block, int slots, const ColumnBuffers& buffers,
                  CUstream_st* stream) {
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const ColumnLimits limits(params, block, slots);
  ColumnArguments a = {};
  a.mask = params.block_mask;
  a.batch_stride = params.mask_strides.batch;
  a.head_stride = params.mask_strides.head;
  a.row_stride = params.mask_strides.row;
  a.mask_batch = narrow(params.mask_strides.batch != 0 ? params.batch : 1);
  a.mask_heads = narrow(params.num_q_heads / params.mask_heads_per_group);
  a.mask_heads_per_group = narrow(params.mask_heads_per_group);
  a.num_q_heads = narrow(params.num_q_heads);
  a.num_kv_heads = narrow(params.num_kv_heads);
  a.heads_per_kv_head = narrow(params.num_q_heads / params.num_kv_heads);
  a.num_q_blocks = narrow(ceil_div<std::int64_t>(params.q_len, block));
  a.num_kv_blocks = narrow(ceil_div<std::int64_t>(params.kv_len, block));
  a.query_words = ceil_div(a.num_q_blocks, 32);
  a.block = block;
  a.q_len = narrow(params.q_len);
  a.kv_len = narrow(params.kv_len);
  a.causal_shift = narrow(params.is_causal ? params.kv_len - params.q_len : params.kv_len);
  a.columns = limits.columns;
  a.slots = slots;

  const int count_blocks = ceil_div(a.columns, 8);
  if (a.mask == nullptr) {
    // The first kernel of a backward starts when all before it has ended.
    count_columns<<<static_cast<unsigned>(count_blocks), 256, 0, stream>>>(a, buffers);
    check_launch("count_columns");
  } else {
    const std::int64_t warps =
        std::int64_t{a.mask_batch} * a.mask_heads * a.query_words * ceil_div(a.num_kv_blocks, 32);
    hopper::launch_dependent("transpose_mask", &transpose_mask,
                             static_cast<int>(ceil_div<std::int64_t>(warps, 8)), 256, 0, stream, a,
                             buffers.kept_queries);
    hopper::launch_dependent("count_columns", &count_columns, count_blocks, 256, 0, stream, a,
                             buffers);
  }
  hopper::launch_dependent("order_columns", &order_columns, a.columns / a.num_kv_blocks + 1,
                           kThreads, 0, stream, a, buffers);
}

}  // namespace seer::sm90
