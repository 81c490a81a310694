// Scores of a tile of query blocks against all key blocks, and the choice from them.
//
// A thread block is one warpgroup and has a tile. The tile's query representatives stay in shared memory; key
// representatives come through a ring of slots, 64 key blocks a slot. A product has the keys as its rows and the query
// representatives as its columns, those of the same rank inside their blocks side by side:
//   column = rank * rows + row
// so that the representatives of one row are in the same thread, and the largest of their products needs no exchange.
// Logits go to memory once; the tile's rows are then read back, mostly from the second-level cache, and chosen from,
// while the other thread block of the multiprocessor multiplies.
#pragma once

#include <cstdint>

#include "kernels/gate_scores/params.h"
#include "kernels/gate_scores/sm90/shape.h"
#include "kernels/hopper/async_copy.cuh"
#include "kernels/hopper/wgmma.cuh"
#include "kernels/hopper/wgmma_n256.cuh"
#include "kernels/select_blocks/row_selection.cuh"

namespace seer::sm90 {

constexpr int kScoresThreads = 128;
constexpr int kKeyBlocks = 64;  // of a slot

template <int kRows, int kPerBlock, int kWidth>
struct ScoresLayout {
  static constexpr int kColumns = kRows * kPerBlock;
  static_assert(kColumns == 64 || kColumns == 128 || kColumns == 256, "what wgmma multiplies here");
  static_assert(kRows % 8 == 0, "a rank begins at a group of 8 columns");
  static_assert(kWidth == 64 || kWidth == 128, "whole groups of 64 elements");
  static constexpr int kSlots = 3;
  static constexpr int kQueryBytes = kColumns * kWidth * 2;
  static constexpr int kSlotBytes = kKeyBlocks * kWidth * 2;
  // The slots need 1024-byte alignment, which the start of shared memory does not promise.
  static constexpr int kSharedBytes = kQueryBytes + kSlots * kSlotBytes + 1024;
};

// Where a tile stands.
struct ScoresTile {
  const __nv_bfloat16* q_reps;  // of the head
  const __nv_bfloat16* k_reps;
  std::int64_t head_index;  // batch * heads + head
  int head;
  int first_row;  // query block
  int rows;
  int key_blocks;  // that the last row sees
};

template <int kRows>
__device__ __forceinline__ ScoresTile scores_tile(const GateScoresParams& params,
                                                  const GateScoresSchedule& schedule, int tile) {
  ScoresTile at;
  const int all_heads = static_cast<int>(params.batch * params.heads);
  const int of_head = schedule.tiles_of_head - 1 - tile / all_heads;
  at.head_index = tile % all_heads;
  const std::int64_t batch = at.head_index / params.heads;
  at.head = static_cast<int>(at.head_index % params.heads);
  at.q_reps = static_cast<const __nv_bfloat16*>(params.q_reps) + batch * params.q_strides.batch +
              at.head * params.q_strides.head;
  at.k_reps = static_cast<const __nv_bfloat16*>(params.k_reps) + batch * params.k_strides.batch +
              at.head / (params.heads / params.key_heads) * params.k_strides.head;
  at.first_row = of_head * kRows;
  const int q_blocks = static_cast<int>((params.q_len + params.block_size - 1) / params.block_size);
  at.rows = min(kRows, q_blocks - at.first_row);
  at.key_blocks = selection::visible_blocks(at.first_row + at.rows - 1, params.block_size,
                                            params.q_len, params.kv_len);
  return at;
}

// A block's missing representatives, of tokens after the last, are replaced by the last one, which is in the same block:
// the largest product stays the same. So are rows after the last, which nobody reads.
template <int kRows, int kPerBlock, int kWidth>
__device__ __forceinline__ void copy_queries(const GateScoresParams& params, const ScoresTile& at,
                                             std::uint32_t shared) {
  constexpr int kColumns = kRows * kPerBlock, kParts = kWidth / 8;
  const int last = static_cast<int>((params.q_len + params.q_tokens - 1) / params.q_tokens) - 1;
  const int stride = static_cast<int>(params.q_strides.row);
  const int part = static_cast<int>(threadIdx.x) % kParts;
#pragma unroll 4
  for (int index = static_cast<int>(threadIdx.x) / kParts; index < kColumns;
       index += kScoresThreads / kParts) {
    const int rep = min(at.first_row * kPerBlock + index, last);
    const int column = index % kPerBlock * kRows + index / kPerBlock;
    hopper::copy_16_bytes(shared + hopper::part_offset(kColumns, column, part),
                          at.q_reps + static_cast<std::int64_t>(rep) * stride + part * 8);
  }
}

// The representatives of rank `rank` of 64 key blocks.
template <int kWidth>
__device__ __forceinline__ void copy_keys(const GateScoresParams& params, const ScoresTile& at,
                                          int first_block, int rank, std::uint32_t shared) {
  constexpr int kParts = kWidth / 8;
  const int per_block = static_cast<int>(params.block_size / params.k_tokens);
  const int last = static_cast<int>((params.kv_len + params.k_tokens - 1) / params.k_tokens) - 1;
  const int stride = static_cast<int>(params.k_strides.row);
  const int part = static_cast<int>(threadIdx.x) % kParts;
#pragma unroll
  for (int row = static_cast<int>(threadIdx.x) / kParts; row < kKeyBlocks;
       row += kScoresThreads / kParts) {
    const int rep = min((first_block + row) * per_block + rank, last);
    hopper::copy_16_bytes(shared + hopper::part_offset(kKeyBlocks, row, part),
                          at.k_reps + static_cast<std::int64_t>(rep) * stride + part * 8);
  }
}

// Softmax of a row, whose logits a lane reads by logit_at(place). Logits that are NaN count as -inf.
__device__ __forceinline__ float usable_logit(float logit) {
  constexpr float kLargest = 3.402823466e38f;
  return logit != logit ? __int_as_float(0xff800000) : fminf(logit, kLargest);
}

constexpr float kLog2E = 1.4426950408889634f;

template <int kPerLane>
__device__ __forceinline__ selection::RegisterRow<kPerLane> row_in_registers(const float* logits,
                                                                             int visible,
                                                                             SelectionRule rule) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  selection::RegisterRow<kPerLane> row;
  const float minus_infinity = __int_as_float(0xff800000);
  float values[kPerLane];
#pragma unroll
  for (int r = 0; r < kPerLane; r += 4) {
    const int place = r * 32 + 4 * lane;
    float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (place < visible) four = *reinterpret_cast<const float4*>(logits + place);
    values[r] = four.x, values[r + 1] = four.y, values[r + 2] = four.z, values[r + 3] = four.w;
  }
  if (rule == SelectionRule::kTopBlocks) {
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

struct RowOfTile {
  const SelectGateBlocksParams& params;
  selection::RowEnds ends;
  float threshold;
  std::uint8_t* mask;
  int length;
  bool is_mask_aligned;
};

template <typename Row>
__device__ __forceinline__ void select_row(const RowOfTile& task, const Row& row) {
  const SelectBlocksParams& rule = task.params.selection;
  const selection::Cutoff cutoff = selection::cutoff_of(
      row, rule.rule, task.ends.visible, static_cast<int>(min(rule.top_blocks, std::int64_t{0x7fffffff})),
      task.threshold, rule.mass);
  selection::write_row(row, cutoff, task.ends, task.mask, task.length, task.is_mask_aligned);
}

// Rows longer than the registers hold are read again for each pass.
__device__ __forceinline__ void select_long_row(const RowOfTile& task, const float* logits) {
  const int visible = task.ends.visible, lane = static_cast<int>(threadIdx.x % 32);
  if (task.params.selection.rule == SelectionRule::kTopBlocks) {
    const auto key_at = [logits](int place) { return selection::key_of_score(logits[place]); };
    return select_row(task, selection::MemoryRow<decltype(key_at)>{key_at, visible});
  }
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
  select_row(task, selection::MemoryRow<decltype(key_at)>{key_at, visible});
}

// The rows of a tile by this warp, whose logits lie `stride` apart.
__device__ __forceinline__ void select_rows(const SelectGateBlocksParams& params, const ScoresTile& at,
                                            const float* logits, int stride) {
  const GateScoresParams& scores = params.scores;
  const SelectBlocksParams& rule = params.selection;
  const auto q_blocks = (scores.q_len + scores.block_size - 1) / scores.block_size;
  const int length = static_cast<int>((scores.kv_len + scores.block_size - 1) / scores.block_size);
  const float threshold = params.thresholds != nullptr ? params.thresholds[at.head]
                                                       : static_cast<float>(rule.threshold);
  // The mask is an allocation of its own: its rows are aligned where their length is.
  const bool is_mask_aligned = length % 4 == 0;
  for (int row = static_cast<int>(threadIdx.x / 32); row < at.rows; row += kScoresThreads / 32) {
    const std::int64_t q_block = at.first_row + row;
    const int visible =
        selection::visible_blocks(q_block, scores.block_size, scores.q_len, scores.kv_len);
    std::uint8_t* mask = rule.mask + (at.head_index * q_blocks + q_block) * length;
    if (rule.rule == SelectionRule::kAll || q_block >= q_blocks - rule.dense_rows) {
      selection::write_dense_row(visible, mask, length, is_mask_aligned);
      continue;
    }
    const auto blocks_of = [visible](std::int64_t count) {
      return static_cast<int>(min(count, static_cast<std::int64_t>(visible)));
    };
    const RowOfTile task{params, {visible, blocks_of(rule.sink), blocks_of(rule.local)}, threshold,
                         mask,   length, is_mask_aligned};
    const float* row_logits = logits + static_cast<std::int64_t>(row) * stride;
    if (visible <= 128) {
      select_row(task, row_in_registers<4>(row_logits, visible, rule.rule));
    } else if (visible <= 512) {
      select_row(task, row_in_registers<16>(row_logits, visible, rule.rule));
    } else if (visible <= 1024) {
      select_row(task, row_in_registers<32>(row_logits, visible, rule.rule));
    } else if (visible <= 2048) {
      select_row(task, row_in_registers<64>(row_logits, visible, rule.rule));
    } else {
      select_long_row(task, row_logits);
    }
  }
}

// A thread's scores of 64 key blocks: for u < kRows / 8 and i, c in {0, 1}, of
//   row 8 u + 2 (lane % 4) + c and key block 16 warp + lane / 4 + 8 i:  best[4 u + 2 i + c]
template <int kRows, int kPerBlock>
__device__ __forceinline__ void largest_of_ranks(
    const float (&products)[kRows * kPerBlock / 2], bool is_first, float (&best)[kRows / 2]) {
#pragma unroll
  for (int j = 0; j < kRows / 2; ++j) {
    float largest = products[j];
#pragma unroll
    for (int rank = 1; rank < kPerBlock; ++rank)
      largest = fmaxf(largest, products[rank * (kRows / 2) + j]);
    best[j] = is_first ? largest : fmaxf(best[j], largest);
  }
}

// kSelect: logits go to the workspace, [thread blocks][kRows][workspace_stride], and the mask is written; else they go to
// params.scores.logits.
template <int kRows, int kPerBlock, int kWidth, bool kSelect>
__global__ void __launch_bounds__(kScoresThreads, kScoresBlocksOfMultiprocessor)
    gate_scores_kernel(const SelectGateBlocksParams params, const GateScoresSchedule schedule,
                       float* workspace, const int workspace_stride) {
  using Layout = ScoresLayout<kRows, kPerBlock, kWidth>;
  extern __shared__ std::uint8_t shared_memory[];
  const std::uint32_t queries = (hopper::shared_address(shared_memory) + 1023) / 1024 * 1024;
  const std::uint32_t slots = queries + Layout::kQueryBytes;
  const GateScoresParams& scores = params.scores;
  const int key_ranks = static_cast<int>(scores.block_size / scores.k_tokens);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);

  // A step is one slot: a rank of 64 key blocks. Its copies are one group, the first step's with the queries.
  const auto steps_of = [&](const ScoresTile& at) {
    return (at.key_blocks + kKeyBlocks - 1) / kKeyBlocks * key_ranks;
  };
  const auto copy_step = [&](const ScoresTile& at, int step) {
    if (step < steps_of(at)) {
      copy_keys<kWidth>(scores, at, step / key_ranks * kKeyBlocks, step % key_ranks,
                        slots + step % Layout::kSlots * Layout::kSlotBytes);
    }
    hopper::commit_copies();
  };
  const auto begin_tile = [&](const ScoresTile& at) {
    copy_queries<kRows, kPerBlock, kWidth>(scores, at, queries);
    for (int step = 0; step < Layout::kSlots - 1; ++step) copy_step(at, step);
  };

  int turn = 0;
  int tile = schedule.tile_of(static_cast<int>(blockIdx.x), turn);
  if (tile >= schedule.num_tiles) return;
  ScoresTile at = scores_tile<kRows>(scores, schedule, tile);
  begin_tile(at);
  while (true) {
    float* logits;
    std::int64_t stride;
    if constexpr (kSelect) {
      stride = workspace_stride;
      logits = workspace + static_cast<std::int64_t>(blockIdx.x) * kRows * stride;
    } else {
      stride = (scores.kv_len + scores.block_size - 1) / scores.block_size;
      const std::int64_t q_blocks = (scores.q_len + scores.block_size - 1) / scores.block_size;
      logits = scores.logits + (at.head_index * q_blocks + at.first_row) * stride;
    }
    const auto scale = static_cast<float>(scores.scale);
    const int steps = steps_of(at);
    float best[kRows / 2];
    for (int step = 0; step < steps; ++step) {
      hopper::wait_copies<Layout::kSlots - 2>();
      hopper::fence_shared_for_products();
      __syncthreads();
      // Into the slot of the step before, whose product is complete.
      copy_step(at, step + Layout::kSlots - 1);

      float products[Layout::kColumns / 2];
      const std::uint64_t keys_at = hopper::matrix_descriptor(
          slots + step % Layout::kSlots * Layout::kSlotBytes, kKeyBlocks * 128);
      const std::uint64_t queries_at = hopper::matrix_descriptor(queries, Layout::kColumns * 128);
      hopper::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kWidth / 16; ++k) {
        const int group = k / 4, bytes = k % 4 * 32;
        hopper::Product<__nv_bfloat16, Layout::kColumns>::ss(
            products, keys_at + ((group * kKeyBlocks * 128 + bytes) >> 4),
            queries_at + ((group * Layout::kColumns * 128 + bytes) >> 4), k > 0);
      }
      hopper::wgmma_commit();
      hopper::wgmma_wait<0>();
      hopper::pin(products);

      const int rank = step % key_ranks;
      largest_of_ranks<kRows, kPerBlock>(products, rank == 0, best);
      if (rank != key_ranks - 1) continue;
      const int key_block = step / key_ranks * kKeyBlocks + 16 * warp + lane / 4;
      float* out = logits + 2 * (lane % 4) * stride + key_block;
#pragma unroll
      for (int u = 0; u < kRows / 8; ++u) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if constexpr (kSelect) {
            out[0] = best[4 * u + c] * scale;
            out[8] = best[4 * u + 2 + c] * scale;
          } else {
            const int row = 8 * u + 2 * (lane % 4) + c;
            const int visible = selection::visible_blocks(at.first_row + row, scores.block_size,
                                                          scores.q_len, scores.kv_len);
            const float hidden = __int_as_float(0xff800000);
            if (row < at.rows && key_block < stride)
              out[0] = key_block < visible ? best[4 * u + c] * scale : hidden;
            if (row < at.rows && key_block + 8 < stride)
              out[8] = key_block + 8 < visible ? best[4 * u + 2 + c] * scale : hidden;
          }
          out += c == 0 ? stride : 7 * stride;
        }
      }
    }
    // The next tile's first copies run while this one's rows are chosen from. All products are complete here.
    __syncthreads();
    const ScoresTile done = at;
    tile = schedule.tile_of(static_cast<int>(blockIdx.x), ++turn);
    if (tile < schedule.num_tiles) {
      at = scores_tile<kRows>(scores, schedule, tile);
      begin_tile(at);
    }
    if constexpr (kSelect) {
      select_rows(params, done, logits, workspace_stride);
      // The workspace is written again.
      __syncthreads();
    } else {
      const int written = steps / key_ranks * kKeyBlocks;
      for (int row = warp; row < done.rows; row += kScoresThreads / 32) {
        for (std::int64_t block = written + lane; block < stride; block += 32)
          logits[row * stride + block] = __int_as_float(0xff800000);
      }
    }
    if (tile >= schedule.num_tiles) return;
  }
}

}  // namespace seer::sm90
