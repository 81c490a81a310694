// Representatives of one head: product, norm and RoPE without leaving the multiprocessor.
//
// A thread block is one warpgroup. It keeps the map of its head in shared memory and takes tiles of 64 pooled rows in turn,
// which the bulk copy engine brings ahead of the products.
#pragma once

#include <cstdint>

#include "kernels/device/packed_vector.cuh"
#include "kernels/gate_representatives/params.h"
#include "kernels/hopper/async_copy.cuh"
#include "kernels/hopper/tma.cuh"
#include "kernels/hopper/wgmma.cuh"

namespace seer::sm90 {

constexpr int kRepsThreads = 128;
constexpr int kRepsRows = 64;  // of a tile
constexpr int kRepsMostSlots = 3;

// Where the parts of shared memory begin, in bytes.
struct RepsLayout {
  int slots;  // of tiles on their way
  int slot_bytes;
  int map_bytes;
  int result_bytes;

  static RepsLayout of(std::int64_t in, std::int64_t width, bool has_map, int slots) {
    return {.slots = slots,
            .slot_bytes = has_map ? static_cast<int>(kRepsRows * in * 2) : 0,
            .map_bytes = has_map ? static_cast<int>(width * in * 2) : 0,
            .result_bytes = static_cast<int>(kRepsRows * width * 2)};
  }
#ifdef __CUDACC__
  __host__ __device__
#endif
      int
      result() const {
    return map_bytes + slots * slot_bytes;
  }
  int total_bytes() const {
    return result() + result_bytes +
           static_cast<int>((kRepsMostSlots + 1) * sizeof(hopper::Barrier));
  }
};

struct RepsArguments {
  CUtensorMap pooled,
      map;  // in boxes of kRepsRows and of `width` rows; not set where there is no map
  GateRepresentativesParams params;
  RepsLayout layout;
  int tiles_of_head;
  int blocks_of_head;  // thread blocks
};

// RoPE's angles for this thread's two rows.
template <int kWidth>
struct Angles {
  static constexpr int kPairs = kWidth / 16;
  float2 cos[2][kPairs], sin[2][kPairs];

  __device__ __forceinline__ void load(const GateRepresentativesParams& params,
                                       const int (&reps)[2]) {
    if (params.cos == nullptr) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const std::int64_t first = reps[i] * params.angle_stride + 2 * (threadIdx.x % 4);
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        cos[i][j] = *reinterpret_cast<const float2*>(params.cos + first + 8 * j);
        sin[i][j] = *reinterpret_cast<const float2*>(params.sin + first + 8 * j);
      }
    }
  }

  __device__ __forceinline__ void turn(float (&values)[kWidth / 2]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        constexpr int kHalf = kWidth / 4;  // from a column's value to that of the other half
        float* x = values + 4 * j + 2 * i;
        const float first[2] = {x[0], x[1]}, second[2] = {x[kHalf], x[kHalf + 1]};
        x[0] = first[0] * cos[i][j].x - second[0] * sin[i][j].x;
        x[1] = first[1] * cos[i][j].y - second[1] * sin[i][j].y;
        x[kHalf] = second[0] * cos[i][j].x + first[0] * sin[i][j].x;
        x[kHalf + 1] = second[1] * cos[i][j].y + first[1] * sin[i][j].y;
      }
    }
  }
};

template <int kWidth>
__device__ __forceinline__ void normalise(const GateRepresentativesParams& params,
                                          float (&values)[kWidth / 2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float squares = 0.0f;
#pragma unroll
    for (int j = 0; j < kWidth / 8; ++j) {
      const float x = values[4 * j + 2 * i], y = values[4 * j + 2 * i + 1];
      squares += x * x + y * y;
    }
    // The four lanes of a row.
    squares += __shfl_xor_sync(0xffffffffu, squares, 1);
    squares += __shfl_xor_sync(0xffffffffu, squares, 2);
    const float factor = rsqrtf(squares / kWidth + static_cast<float>(params.eps));
#pragma unroll
    for (int j = 0; j < kWidth / 8; ++j) {
      const float2 weight =
          *reinterpret_cast<const float2*>(params.norm + 8 * j + 2 * (threadIdx.x % 4));
      values[4 * j + 2 * i] *= factor * weight.x;
      values[4 * j + 2 * i + 1] *= factor * weight.y;
    }
  }
}

// As wgmma.cuh numbers accumulators: values[4 j + 2 i + c] is row 16 warp + lane / 4 + 8 i, column 8 j + 2 (lane % 4) + c.
template <hopper::TwoByteFloat T, int kWidth>
__global__ void __launch_bounds__(kRepsThreads, 2)
    gate_representatives_kernel(const __grid_constant__ RepsArguments arguments) {
  const GateRepresentativesParams& params = arguments.params;
  const RepsLayout& layout = arguments.layout;
  extern __shared__ __align__(1024) std::uint8_t shared_bytes[];
  std::uint8_t* const result = shared_bytes + layout.result();
  auto* const full = reinterpret_cast<hopper::Barrier*>(result + layout.result_bytes);
  hopper::Barrier& map_full = full[kRepsMostSlots];
  const int tid = static_cast<int>(threadIdx.x), warp = tid / 32, lane = tid % 32;
  const int head_index = static_cast<int>(blockIdx.x) / arguments.blocks_of_head;  // of all batches
  const int batch = head_index / static_cast<int>(params.out_heads);
  const int out_head = head_index % static_cast<int>(params.out_heads);
  const int head = out_head / static_cast<int>(params.out_heads / params.heads);
  const int first_tile = static_cast<int>(blockIdx.x) % arguments.blocks_of_head;
  const bool has_map = params.map != nullptr;

  const auto copy_tile = [&](int tile, int slot) {
    if (tile >= arguments.tiles_of_head) return;
    full[slot].arrive_and_expect(static_cast<std::uint32_t>(layout.slot_bytes));
    hopper::load_rows(shared_bytes + layout.map_bytes + slot * layout.slot_bytes, arguments.pooled,
                      full[slot], tile * kRepsRows, head, batch);
  };
  if (tid == 0 && has_map) {
    for (int barrier = 0; barrier <= kRepsMostSlots; ++barrier) full[barrier].init(1);
    hopper::fence_barrier_init();
    map_full.arrive_and_expect(static_cast<std::uint32_t>(layout.map_bytes));
    hopper::load_rows(shared_bytes, arguments.map, map_full, 0, out_head, 0);
    for (int slot = 0; slot < layout.slots; ++slot)
      copy_tile(first_tile + slot * arguments.blocks_of_head, slot);
  }
  __syncthreads();

  int slot = 0;
  std::uint32_t parity = 0;
  for (int tile = first_tile; tile < arguments.tiles_of_head; tile += arguments.blocks_of_head) {
    const int first_rep = tile * kRepsRows;
    const int last_rep = static_cast<int>(params.count) - 1;
    // Rows after the last repeat it: they are not written.
    const int own_rep = first_rep + 16 * warp + lane / 4;
    const int reps[2] = {min(own_rep, last_rep), min(own_rep + 8, last_rep)};
    Angles<kWidth> angles;
    angles.load(params, reps);

    float values[kWidth / 2];
    if (has_map) {
      map_full.wait(0);
      full[slot].wait(parity);
      const std::uint64_t map_at =
          hopper::matrix_descriptor(hopper::shared_address(shared_bytes), kWidth * 128);
      const std::uint64_t rows_at = hopper::matrix_descriptor(
          hopper::shared_address(shared_bytes + layout.map_bytes + slot * layout.slot_bytes),
          kRepsRows * 128);
      // From zeros, so that the loop's first product is like the others.
#pragma unroll
      for (float& value : values) value = 0.0f;
      hopper::pin(values);
      const int groups = static_cast<int>(params.in) / 64;
#pragma unroll 1
      for (int group = 0; group < groups; ++group) {
        hopper::wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          hopper::Product<T, kWidth>::ss(values,
                                         rows_at + ((group * kRepsRows * 128 + k * 32) >> 4),
                                         map_at + ((group * kWidth * 128 + k * 32) >> 4), 1);
        }
      }
      hopper::wgmma_commit();
      hopper::wgmma_wait<0>();
      hopper::pin(values);
      // All warps have read the slot, and what is staged of the tile before.
      __syncthreads();
      if (tid == 0) copy_tile(tile + layout.slots * arguments.blocks_of_head, slot);
      if (++slot == layout.slots) {
        slot = 0;
        parity ^= 1;
      }
    } else {
      const T* pooled = static_cast<const T*>(params.pooled) + batch * params.pooled_strides.batch +
                        head * params.pooled_strides.head + 2 * (lane % 4);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < kWidth / 8; ++j) {
          const float2 pair = to_floats(*reinterpret_cast<const typename PairOf<T>::Type*>(
              pooled + reps[i] * params.pooled_strides.row + 8 * j));
          values[4 * j + 2 * i] = pair.x, values[4 * j + 2 * i + 1] = pair.y;
        }
      }
      __syncthreads();
    }
    if (params.norm != nullptr) normalise<kWidth>(params, values);
    if (params.cos != nullptr) angles.turn(values);

      // Through shared memory, so that whole rows are written.
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) {
        *reinterpret_cast<__nv_bfloat162*>(
            result + hopper::part_offset(kRepsRows, 16 * warp + lane / 4 + 8 * i, j) +
            4 * (lane % 4)) =
            __floats2bfloat162_rn(values[4 * j + 2 * i], values[4 * j + 2 * i + 1]);
      }
    }
    __syncthreads();
    auto* out = static_cast<__nv_bfloat16*>(params.reps) + batch * params.reps_strides.batch +
                out_head * params.reps_strides.head;
    constexpr int kParts = kWidth / 8;
#pragma unroll
    for (int row = tid / kParts; row < kRepsRows; row += kRepsThreads / kParts) {
      if (first_rep + row > last_rep) break;
      const int part = tid % kParts;
      *reinterpret_cast<uint4*>(out + (first_rep + row) * params.reps_strides.row + part * 8) =
          *reinterpret_cast<const uint4*>(result + hopper::part_offset(kRepsRows, row, part));
    }
  }
}

}  // namespace seer::sm90
