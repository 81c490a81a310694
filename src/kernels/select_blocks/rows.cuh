// A warp has a row: reads its scores once, into registers, and finds there what the rule keeps (row_selection.cuh). The
// definition behind rows.h.
#pragma once

#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/ceil_div.h"
#include "kernels/device/check.cuh"
#include "kernels/select_blocks/row_selection.cuh"
#include "kernels/select_blocks/rows.h"

namespace seer::selection {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr std::size_t kMostSharedBytes = 227 * 1024;  // of a thread block on compute capability 9.0

// What of the parameters is the same for all rows, and how they can be read.
struct RowPlan {
  std::int64_t rows;
  int heads, num_q_blocks, num_kv_blocks;
  int visible_of_first;
  int sink, local;
  int first_dense_row;
  RuleValues values;
  bool are_scores_aligned;  // four can be read as one
  bool is_mask_aligned;
  bool are_keys_shared;
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

template <SelectionRule kRule>
__device__ __forceinline__ std::uint32_t key_of(float score) {
  if constexpr (kRule == SelectionRule::kTopBlocks) return key_of_score(score);
  const std::uint32_t key = key_of_probability(score);
  return kRule == SelectionRule::kMass ? min(key, kKeyOfLargestFloat) : key;
}

template <SelectionRule kRule, int kPerLane, typename T>
__device__ __forceinline__ void select_in_registers(const RowPlan& plan, const T* scores,
                                                    const MaskRow& mask) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  RegisterRow<kPerLane> row;
#pragma unroll
  for (int r = 0; r < kPerLane; r += 4) {
    const int place = r * 32 + 4 * lane;
    float four[4] = {};
    // Four that end in the row can be read as one even where the row sees fewer.
    if (plan.are_scores_aligned && place < mask.visible) {
      load_four(scores + place, four);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (place + i < mask.visible) four[i] = widened(scores[place + i]);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      row.keys[r + i] = place + i < mask.visible ? key_of<kRule>(four[i]) : 0u;
  }
  select_row<kRule>(row, plan.values, mask);
}

// kHasLongRows: some do not fit the registers.
template <typename T, SelectionRule kRule, int kMostPerLane, bool kHasLongRows>
__global__ void __launch_bounds__(kThreads)
    select_blocks_kernel(const SelectBlocksParams params, const RowPlan plan) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (index >= plan.rows) return;
  const int q_block = static_cast<int>(index % plan.num_q_blocks);
  const std::int64_t of_all_heads = index / plan.num_q_blocks;
  const int visible = visible_blocks(q_block, plan.visible_of_first, plan.num_kv_blocks);
  const MaskRow mask{.bytes = params.mask + index * plan.num_kv_blocks,
                     .length = plan.num_kv_blocks,
                     .is_aligned = plan.is_mask_aligned,
                     .visible = visible,
                     .sink = min(plan.sink, visible),
                     .local = min(plan.local, visible)};
  if (kRule == SelectionRule::kAll || q_block >= plan.first_dense_row || visible == 0)
    return mask.keep_visible();
  if constexpr (kRule != SelectionRule::kAll) {
    const T* scores = static_cast<const T*>(params.scores) +
                      of_all_heads / plan.heads * params.scores_strides.batch +
                      of_all_heads % plan.heads * params.scores_strides.head +
                      q_block * params.scores_strides.row;
    if (visible <= 128) return select_in_registers<kRule, 4>(plan, scores, mask);
    if (kMostPerLane == 16 || visible <= 512)
      return select_in_registers<kRule, 16>(plan, scores, mask);
    if constexpr (kMostPerLane == 64) {
      if (visible <= 1024) return select_in_registers<kRule, 32>(plan, scores, mask);
      if (!kHasLongRows || visible <= 2048)
        return select_in_registers<kRule, 64>(plan, scores, mask);
    }
    if constexpr (kHasLongRows) {
      // The keys lie in shared memory where they fit; else they are made anew in each pass.
      extern __shared__ std::uint32_t keys_of_block[];
      std::uint32_t* const keys =
          plan.are_keys_shared ? keys_of_block + threadIdx.x / 32 * plan.num_kv_blocks : nullptr;
      if (keys != nullptr) {
        for (int place = static_cast<int>(threadIdx.x % 32); place < visible; place += 32)
          keys[place] = key_of<kRule>(widened(scores[place]));
        __syncwarp();
      }
      const auto key_at = [keys, scores](int place) {
        return keys != nullptr ? keys[place] : key_of<kRule>(widened(scores[place]));
      };
      select_row<kRule>(MemoryRow<decltype(key_at)>{key_at, visible}, plan.values, mask);
    }
  }
}

inline int as_int(std::int64_t count) {
  return static_cast<int>(std::clamp<std::int64_t>(count, 0, 0x7fffffff));
}

template <typename T>
RowPlan plan_of(const SelectBlocksParams& params) {
  const Strides& strides = params.scores_strides;
  const bool are_fours = params.num_kv_blocks % 4 == 0;
  return {.rows = params.batch * params.heads * params.num_q_blocks,
          .heads = as_int(params.heads),
          .num_q_blocks = as_int(params.num_q_blocks),
          .num_kv_blocks = as_int(params.num_kv_blocks),
          .visible_of_first =
              static_cast<int>(visible_of_first(params.q_len, params.kv_len, params.block_size)),
          .sink = as_int(params.sink),
          .local = as_int(params.local),
          .first_dense_row = as_int(params.num_q_blocks - params.dense_rows),
          .values = {.top_blocks = as_int(params.top_blocks),
                     .threshold = static_cast<float>(params.threshold),
                     .mass = params.mass},
          .are_scores_aligned =
              are_fours && std::bit_cast<std::uintptr_t>(params.scores) % (4 * sizeof(T)) == 0 &&
              strides.batch % 4 == 0 && strides.head % 4 == 0 && strides.row % 4 == 0,
          .is_mask_aligned = are_fours && std::bit_cast<std::uintptr_t>(params.mask) % 4 == 0};
}

template <typename T, SelectionRule kRule>
void launch(const SelectBlocksParams& params, CUstream_st* stream) {
  RowPlan plan = plan_of<T>(params);
  auto kernel = &select_blocks_kernel<T, kRule, 16, false>;
  std::size_t shared_bytes = 0;
  if constexpr (kRule != SelectionRule::kAll) {
    if (plan.num_kv_blocks > 512) kernel = &select_blocks_kernel<T, kRule, 64, false>;
    if (plan.num_kv_blocks > 2048) {
      kernel = &select_blocks_kernel<T, kRule, 64, true>;
      shared_bytes = kWarps * sizeof(std::uint32_t) * static_cast<std::size_t>(plan.num_kv_blocks);
      plan.are_keys_shared = shared_bytes <= kMostSharedBytes;
      if (!plan.are_keys_shared) shared_bytes = 0;
      check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shared_bytes)),
                 "cudaFuncSetAttribute");
    }
  }
  kernel<<<static_cast<unsigned>(ceil_div(plan.rows, std::int64_t{kWarps})), kThreads, shared_bytes,
           stream>>>(params, plan);
  check_launch("select_blocks_kernel");
}

template <typename T>
void select_rows(const SelectBlocksParams& params, CUstream_st* stream) {
  switch (params.rule) {
    case SelectionRule::kAll: return launch<T, SelectionRule::kAll>(params, stream);
    case SelectionRule::kTopBlocks: return launch<T, SelectionRule::kTopBlocks>(params, stream);
    case SelectionRule::kThreshold: return launch<T, SelectionRule::kThreshold>(params, stream);
    case SelectionRule::kMass: return launch<T, SelectionRule::kMass>(params, stream);
  }
}

}  // namespace seer::selection
