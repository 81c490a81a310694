// The choice from a tile's logits, which lie in memory.
#pragma once

#include <cstdint>

#include "kernels/gate_scores/sm90/plan.h"
#include "kernels/select_blocks/row_selection.cuh"

namespace seer::sm90 {

constexpr float kLog2E = 1.4426950408889634f;

// NaN counts as -inf, and infinity as the largest number: differences of two of these are numbers.
__device__ __forceinline__ float usable_logit(float logit) {
  constexpr float kLargest = 3.402823466e38f;
  return logit != logit ? __int_as_float(0xff800000) : fminf(logit, kLargest);
}

template <ScoresOutput kOutput, int kPerLane>
__device__ __forceinline__ selection::RegisterRow<kPerLane> row_in_registers(const float* logits,
                                                                             int visible) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float minus_infinity = __int_as_float(0xff800000);
  selection::RegisterRow<kPerLane> row;
  float values[kPerLane];
#pragma unroll
  for (int r = 0; r < kPerLane; r += 4) {
    const int place = r * 32 + 4 * lane;
    float4 four = make_float4(minus_infinity, minus_infinity, minus_infinity, minus_infinity);
    if (place < visible) four = *reinterpret_cast<const float4*>(logits + place);
    values[r] = four.x, values[r + 1] = four.y, values[r + 2] = four.z, values[r + 3] = four.w;
  }
  if constexpr (kOutput == ScoresOutput::kTopBlocks) {
#pragma unroll
    for (int r = 0; r < kPerLane; ++r) {
      const int place = r / 4 * 128 + 4 * lane + r % 4;
      row.keys[r] = place < visible ? selection::key_of_score(values[r]) : 0u;
    }
    return row;
  }
  float largest = minus_infinity;
#pragma unroll
  for (int r = 0; r < kPerLane; ++r) {
    const int place = r / 4 * 128 + 4 * lane + r % 4;
    values[r] = place < visible ? usable_logit(values[r]) : minus_infinity;
    largest = fmaxf(largest, values[r]);
  }
  largest = selection::max_of_warp(largest);
  float sum = 0.0f;
#pragma unroll
  for (int r = 0; r < kPerLane; ++r) {
    values[r] = exp2f((values[r] - largest) * kLog2E);
    sum += values[r];
  }
  const float factor = 1.0f / selection::sum_of_warp(sum);
#pragma unroll
  for (int r = 0; r < kPerLane; ++r)
    row.keys[r] = selection::key_of_probability(values[r] * factor);
  return row;
}

template <ScoresOutput kOutput, typename Row>
__device__ __forceinline__ void select_row(const Row& row, const selection::RuleValues& values,
                                           const selection::MaskRow& mask) {
  constexpr SelectionRule kRule = kOutput == ScoresOutput::kTopBlocks ? SelectionRule::kTopBlocks
                                  : kOutput == ScoresOutput::kMass    ? SelectionRule::kMass
                                                                      : SelectionRule::kThreshold;
  selection::select_row<kRule>(row, values, mask);
}

// Rows longer than the registers hold are read again for each pass.
template <ScoresOutput kOutput>
__device__ __forceinline__ void select_long_row(const float* logits,
                                                const selection::RuleValues& values,
                                                const selection::MaskRow& mask) {
  const int visible = mask.visible, lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (kOutput == ScoresOutput::kTopBlocks) {
    const auto key_at = [logits](int place) { return selection::key_of_score(logits[place]); };
    select_row<kOutput>(selection::MemoryRow<decltype(key_at)>{key_at, visible}, values, mask);
  } else {
    float largest = __int_as_float(0xff800000);
    for (int place = lane; place < visible; place += 32)
      largest = fmaxf(largest, usable_logit(logits[place]));
    largest = selection::max_of_warp(largest);
    float sum = 0.0f;
    for (int place = lane; place < visible; place += 32)
      sum += exp2f((usable_logit(logits[place]) - largest) * kLog2E);
    const float factor = 1.0f / selection::sum_of_warp(sum);
    const auto key_at = [=](int place) {
      return selection::key_of_probability(exp2f((usable_logit(logits[place]) - largest) * kLog2E) *
                                           factor);
    };
    select_row<kOutput>(selection::MemoryRow<decltype(key_at)>{key_at, visible}, values, mask);
  }
}

// This warp's rows of a tile of `rows` rows from `first_row` of head `head_index` on.
template <ScoresOutput kOutput>
__device__ __forceinline__ void select_rows(const GateScoresPlan& plan, int head_index,
                                            int first_row, int rows, const float* logits) {
  const selection::RuleValues values{.top_blocks = plan.top_blocks,
                                     .threshold = plan.thresholds != nullptr
                                                      ? plan.thresholds[head_index % plan.heads]
                                                      : plan.threshold,
                                     .mass = plan.mass};
  for (int i = static_cast<int>(threadIdx.x / 32); i < rows;
       i += static_cast<int>(blockDim.x / 32)) {
    const int q_block = first_row + i;
    const int visible = selection::visible_blocks(q_block, plan.visible_of_first, plan.kv_blocks);
    const selection::MaskRow mask{
        .bytes = plan.mask +
                 (static_cast<std::int64_t>(head_index) * plan.q_blocks + q_block) * plan.kv_blocks,
        .length = plan.kv_blocks,
        .is_aligned = plan.kv_blocks % 4 == 0,  // the mask is an allocation of its own
        .visible = visible,
        .sink = min(plan.sink, visible),
        .local = min(plan.local, visible)};
    if (q_block >= plan.first_dense_row) {
      mask.keep_visible();
      continue;
    }
    const float* row = logits + i * plan.logits_stride;
    if (visible <= 128) {
      select_row<kOutput>(row_in_registers<kOutput, 4>(row, visible), values, mask);
    } else if (visible <= 512) {
      select_row<kOutput>(row_in_registers<kOutput, 16>(row, visible), values, mask);
    } else if (visible <= 1024) {
      select_row<kOutput>(row_in_registers<kOutput, 32>(row, visible), values, mask);
    } else if (visible <= 2048) {
      select_row<kOutput>(row_in_registers<kOutput, 64>(row, visible), values, mask);
    } else {
      select_long_row<kOutput>(row, values, mask);
    }
  }
}

}  // namespace seer::sm90
