// A warp has a row: reads its scores once, into registers, and finds there what the rule keeps (row_selection.cuh).
#include "kernels/select_blocks/cuda.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/select_blocks/row_selection.cuh"

namespace seer {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr std::size_t kMostSharedBytes = 227 * 1024;  // of a thread block on compute capability 9.0

// What of the parameters the rows share.
struct Alignment {
  bool scores;  // four scores can be read as one
  bool mask;    // four bytes of the mask can be written as one
};

__device__ __forceinline__ void load_four(const float* from, float (&scores)[4]) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  scores[0] = four.x, scores[1] = four.y, scores[2] = four.z, scores[3] = four.w;
}
__device__ __forceinline__ void load_four(const __nv_bfloat16* from, float (&scores)[4]) {
  const uint2 four = *reinterpret_cast<const uint2*>(from);
  scores[0] = __uint_as_float(four.x << 16), scores[1] = __uint_as_float(four.x & 0xffff0000u);
  scores[2] = __uint_as_float(four.y << 16), scores[3] = __uint_as_float(four.y & 0xffff0000u);
}
__device__ __forceinline__ float widened(float score) {
  return score;
}
__device__ __forceinline__ float widened(__nv_bfloat16 score) {
  return __bfloat162float(score);
}

__device__ __forceinline__ std::uint32_t key_of(float score, SelectionRule rule) {
  if (rule == SelectionRule::kTopBlocks) return selection::key_of_score(score);
  const std::uint32_t key = selection::key_of_probability(score);
  return rule == SelectionRule::kMass ? min(key, selection::kKeyOfLargestFloat) : key;
}

struct RowTask {
  const SelectBlocksParams& params;
  selection::RowEnds ends;
  std::uint8_t* mask;
  Alignment alignment;
};

template <typename Row>
__device__ __forceinline__ void select(const RowTask& task, const Row& row) {
  const SelectBlocksParams& params = task.params;
  const selection::Cutoff cutoff = selection::cutoff_of(
      row, params.rule, task.ends.visible,
      static_cast<int>(min(params.top_blocks, std::int64_t{0x7fffffff})),
      static_cast<float>(params.threshold), params.mass);
  selection::write_row(row, cutoff, task.ends, task.mask, static_cast<int>(params.num_kv_blocks),
                       task.alignment.mask);
}

template <int kPerLane, typename T>
__device__ __forceinline__ void select_in_registers(const RowTask& task, const T* scores) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  selection::RegisterRow<kPerLane> row;
#pragma unroll
  for (int r = 0; r < kPerLane; r += 4) {
    const int place = r * 32 + 4 * lane;
    float four[4] = {};
    // Four that end in the row can be read as one even where the row sees fewer.
    if (task.alignment.scores && place < task.ends.visible) {
      load_four(scores + place, four);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (place + i < task.ends.visible) four[i] = widened(scores[place + i]);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      row.keys[r + i] = place + i < task.ends.visible ? key_of(four[i], task.params.rule) : 0u;
  }
  select(task, row);
}

// Where the keys of rows that do not fit the registers lie.
enum class LongRows { kNone, kShared, kGlobal };

template <typename T, int kMostPerLane, LongRows kLongRows>
__global__ void __launch_bounds__(kThreads)
    select_blocks_kernel(const SelectBlocksParams params, const Alignment alignment) {
  const std::int64_t position = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (position >= params.batch * params.heads * params.num_q_blocks) return;
  const std::int64_t of_all_heads = position / params.num_q_blocks;
  const SelectionRow at = {of_all_heads / params.heads, of_all_heads % params.heads,
                           position % params.num_q_blocks};
  const auto length = static_cast<int>(params.num_kv_blocks);
  const int visible =
      selection::visible_blocks(at.q_block, params.block_size, params.q_len, params.kv_len);
  std::uint8_t* mask = params.mask + position * params.num_kv_blocks;
  if (params.rule == SelectionRule::kAll || visible == 0 ||
      at.q_block >= params.num_q_blocks - params.dense_rows) {
    selection::write_dense_row(visible, mask, length, alignment.mask);
    return;
  }
  const T* scores = static_cast<const T*>(params.scores) + at.batch * params.scores_strides.batch +
                    at.head * params.scores_strides.head + at.q_block * params.scores_strides.row;
  const auto blocks_of = [visible](std::int64_t count) {
    return static_cast<int>(min(count, static_cast<std::int64_t>(visible)));
  };
  const RowTask task{params, {visible, blocks_of(params.sink), blocks_of(params.local)}, mask,
                     alignment};
  if (visible <= 128) return select_in_registers<4>(task, scores);
  if (kMostPerLane == 16 || visible <= 512) return select_in_registers<16>(task, scores);
  if constexpr (kMostPerLane == 64) {
    if (visible <= 1024) return select_in_registers<32>(task, scores);
    if (kLongRows == LongRows::kNone || visible <= 2048)
      return select_in_registers<64>(task, scores);
  }
  const SelectionRule rule = params.rule;
  if constexpr (kLongRows == LongRows::kShared) {
    extern __shared__ std::uint32_t keys_of_block[];
    std::uint32_t* keys = keys_of_block + threadIdx.x / 32 * length;
    for (int place = static_cast<int>(threadIdx.x % 32); place < visible; place += 32)
      keys[place] = key_of(widened(scores[place]), rule);
    __syncwarp();
    const auto key_at = [keys](int place) { return keys[place]; };
    select(task, selection::MemoryRow<decltype(key_at)>{key_at, visible});
  } else if constexpr (kLongRows == LongRows::kGlobal) {
    const auto key_at = [scores, rule](int place) { return key_of(widened(scores[place]), rule); };
    select(task, selection::MemoryRow<decltype(key_at)>{key_at, visible});
  }
}

template <typename T>
void launch(const SelectBlocksParams& params, CUstream_st* stream) {
  const std::uintptr_t address = std::bit_cast<std::uintptr_t>(params.scores);
  const Strides& strides = params.scores_strides;
  const Alignment alignment{
      .scores = address % (4 * sizeof(T)) == 0 && strides.batch % 4 == 0 && strides.head % 4 == 0 &&
                strides.row % 4 == 0 && params.num_kv_blocks % 4 == 0,
      .mask = std::bit_cast<std::uintptr_t>(params.mask) % 4 == 0 && params.num_kv_blocks % 4 == 0};
  auto kernel = &select_blocks_kernel<T, 16, LongRows::kNone>;
  std::size_t shared_bytes = 0;
  if (params.num_kv_blocks > 512) kernel = &select_blocks_kernel<T, 64, LongRows::kNone>;
  if (params.num_kv_blocks > 2048) {
    shared_bytes = kWarps * sizeof(std::uint32_t) * static_cast<std::size_t>(params.num_kv_blocks);
    if (shared_bytes <= kMostSharedBytes) {
      kernel = &select_blocks_kernel<T, 64, LongRows::kShared>;
      check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shared_bytes)),
                 "cudaFuncSetAttribute");
    } else {
      kernel = &select_blocks_kernel<T, 64, LongRows::kGlobal>;
      shared_bytes = 0;
    }
  }
  const std::int64_t rows = params.batch * params.heads * params.num_q_blocks;
  kernel<<<static_cast<unsigned>(ceil_div(rows, std::int64_t{kWarps})), kThreads, shared_bytes,
           stream>>>(params, alignment);
  check_launch("select_blocks_kernel");
}

}  // namespace

void select_blocks_cuda(const SelectBlocksParams& params, CUstream_st* stream) {
  if (params.batch * params.heads * params.num_q_blocks * params.num_kv_blocks == 0) return;
  switch (params.element) {
    case Element::kFloat32: return launch<float>(params, stream);
    case Element::kBFloat16: return launch<__nv_bfloat16>(params, stream);
    case Element::kFloat16:
    case Element::kFloat64: break;
  }
  throw std::runtime_error(std::string("select_blocks: scores of ") + element_name(params.element) +
                           " are not supported on CUDA (supported: float32, bfloat16)");
}

}  // namespace seer
