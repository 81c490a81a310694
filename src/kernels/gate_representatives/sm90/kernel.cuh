// Representatives of 64 pooled rows of one head: product, norm and RoPE without leaving the multiprocessor.
#pragma once

#include <cstdint>

#include "kernels/device/packed_vector.cuh"
#include "kernels/gate_representatives/params.h"
#include "kernels/hopper/async_copy.cuh"
#include "kernels/hopper/wgmma.cuh"

namespace seer::sm90 {

constexpr int kRepsThreads = 128;
constexpr int kRepsRows = 64;     // of a thread block
constexpr int kRepsColumns = 64;  // of the input, a slot

template <int kWidth>
struct RepsLayout {
  static constexpr int kSlots = 3;
  static constexpr int kRowBytes = kRepsRows * kRepsColumns * 2;
  static constexpr int kSlotBytes = kRowBytes + kWidth * kRepsColumns * 2;
  static constexpr int kSharedBytes = kSlots * kSlotBytes + 1024;  // 1024 for the alignment
  static_assert(kRepsRows * kWidth * 2 <= kSlots * kSlotBytes, "the result is staged there");
};

// As wgmma.cuh numbers accumulators: values[4 j + 2 i + c] is row 16 warp + lane / 4 + 8 i, column 8 j + 2 (lane % 4) + c.
template <hopper::TwoByteFloat T, int kWidth>
__device__ __forceinline__ void multiply(const GateRepresentativesParams& params, const T* pooled,
                                         const T* map, int rows, std::uint32_t slots,
                                         float (&values)[kWidth / 2]) {
  using Layout = RepsLayout<kWidth>;
  constexpr int kParts = kRepsColumns / 8;
  const int chunks = static_cast<int>(params.in) / kRepsColumns;
  const int part = static_cast<int>(threadIdx.x) % kParts;
  const int first = static_cast<int>(threadIdx.x) / kParts;
  const int in = static_cast<int>(params.in);
  const int stride = static_cast<int>(params.pooled_strides.row);
  const auto copy_chunk = [&](int chunk) {
    if (chunk < chunks) {
      const std::uint32_t slot = slots + chunk % Layout::kSlots * Layout::kSlotBytes;
      const int column = chunk * kRepsColumns + part * 8;
#pragma unroll
      for (int row = first; row < kRepsRows; row += kRepsThreads / kParts) {
        // Rows after the last repeat it: nobody reads what becomes of them.
        hopper::copy_16_bytes(
            slot + hopper::part_offset(kRepsRows, row, part),
            pooled + static_cast<std::int64_t>(min(row, rows - 1)) * stride + column);
      }
#pragma unroll
      for (int row = first; row < kWidth; row += kRepsThreads / kParts) {
        hopper::copy_16_bytes(slot + Layout::kRowBytes + hopper::part_offset(kWidth, row, part),
                              map + static_cast<std::int64_t>(row) * in + column);
      }
    }
    hopper::commit_copies();
  };
  for (int chunk = 0; chunk < Layout::kSlots - 1; ++chunk) copy_chunk(chunk);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    hopper::wait_copies<Layout::kSlots - 2>();
    hopper::fence_shared_for_products();
    __syncthreads();
    copy_chunk(chunk + Layout::kSlots - 1);
    const std::uint32_t slot = slots + chunk % Layout::kSlots * Layout::kSlotBytes;
    const std::uint64_t rows_at = hopper::matrix_descriptor(slot, kRepsRows * 128);
    const std::uint64_t map_at = hopper::matrix_descriptor(slot + Layout::kRowBytes, kWidth * 128);
    hopper::wgmma_fence();
#pragma unroll
    for (int k = 0; k < kRepsColumns / 16; ++k)
      hopper::Product<T, kWidth>::ss(values, rows_at + k * 2, map_at + k * 2, chunk + k > 0);
    hopper::wgmma_commit();
    hopper::wgmma_wait<0>();
    hopper::pin(values);
  }
}

template <hopper::TwoByteFloat T, int kWidth>
__global__ void __launch_bounds__(kRepsThreads, 3)
    gate_representatives_kernel(const GateRepresentativesParams params) {
  using Layout = RepsLayout<kWidth>;
  extern __shared__ std::uint8_t shared_memory[];
  const std::uint32_t slots = (hopper::shared_address(shared_memory) + 1023) / 1024 * 1024;
  const int tid = static_cast<int>(threadIdx.x), warp = tid / 32, lane = tid % 32;
  const auto tiles = static_cast<unsigned>((params.count + kRepsRows - 1) / kRepsRows);
  const std::int64_t first_rep = static_cast<std::int64_t>(blockIdx.x % tiles) * kRepsRows;
  const std::int64_t batch = blockIdx.x / tiles / static_cast<unsigned>(params.out_heads);
  const std::int64_t out_head = blockIdx.x / tiles % static_cast<unsigned>(params.out_heads);
  const std::int64_t head = out_head / (params.out_heads / params.heads);
  const int rows = static_cast<int>(min(params.count - first_rep, std::int64_t{kRepsRows}));
  const T* pooled = static_cast<const T*>(params.pooled) + batch * params.pooled_strides.batch +
                    head * params.pooled_strides.head + first_rep * params.pooled_strides.row;

  float values[kWidth / 2];
  if (params.map != nullptr) {
    multiply<T, kWidth>(params, pooled,
                        static_cast<const T*>(params.map) + out_head * params.width * params.in,
                        rows, slots, values);
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = min(16 * warp + lane / 4 + 8 * i, rows - 1);
      const T* from = pooled + row * params.pooled_strides.row + 2 * (lane % 4);
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) {
        const float2 pair = to_floats(*reinterpret_cast<const typename PairOf<T>::Type*>(from + 8 * j));
        values[4 * j + 2 * i] = pair.x, values[4 * j + 2 * i + 1] = pair.y;
      }
    }
  }

  if (params.norm != nullptr) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float squares = 0.0f;
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) {
        const float x = values[4 * j + 2 * i], y = values[4 * j + 2 * i + 1];
        squares += x * x + y * y;
      }
      squares += __shfl_xor_sync(0xffffffffu, squares, 1);
      squares += __shfl_xor_sync(0xffffffffu, squares, 2);
      const float factor = rsqrtf(squares / kWidth + static_cast<float>(params.eps));
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) {
        const float2 weight =
            *reinterpret_cast<const float2*>(params.norm + 8 * j + 2 * (lane % 4));
        values[4 * j + 2 * i] *= factor * weight.x;
        values[4 * j + 2 * i + 1] *= factor * weight.y;
      }
    }
  }

  if (params.cos != nullptr) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const std::int64_t rep = first_rep + min(16 * warp + lane / 4 + 8 * i, rows - 1);
      const std::int64_t angles = rep * params.angle_stride + 2 * (lane % 4);
#pragma unroll
      for (int j = 0; j < kWidth / 16; ++j) {
        const float2 cos = *reinterpret_cast<const float2*>(params.cos + angles + 8 * j);
        const float2 sin = *reinterpret_cast<const float2*>(params.sin + angles + 8 * j);
        constexpr int kHalf = kWidth / 4;  // from a column's value to that of the other half
        float* x = values + 4 * j + 2 * i;
        const float first[2] = {x[0], x[1]}, second[2] = {x[kHalf], x[kHalf + 1]};
        x[0] = first[0] * cos.x - second[0] * sin.x;
        x[1] = first[1] * cos.y - second[1] * sin.y;
        x[kHalf] = second[0] * cos.x + first[0] * sin.x;
        x[kHalf + 1] = second[1] * cos.y + first[1] * sin.y;
      }
    }
  }

  // Through shared memory, so that whole rows are written. Its reads by products are complete.
  __syncthreads();
  std::uint8_t* staged = shared_memory + (slots - hopper::shared_address(shared_memory));
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = 16 * warp + lane / 4 + 8 * i;
#pragma unroll
    for (int j = 0; j < kWidth / 8; ++j) {
      *reinterpret_cast<__nv_bfloat162*>(staged + hopper::part_offset(kRepsRows, row, j) +
                                         4 * (lane % 4)) =
          __floats2bfloat162_rn(values[4 * j + 2 * i], values[4 * j + 2 * i + 1]);
    }
  }
  __syncthreads();
  auto* reps = static_cast<__nv_bfloat16*>(params.reps) + batch * params.reps_strides.batch +
               out_head * params.reps_strides.head + first_rep * params.reps_strides.row;
  constexpr int kParts = kWidth / 8;
  for (int row = tid / kParts; row < rows; row += kRepsThreads / kParts) {
    const int part = tid % kParts;
    *reinterpret_cast<uint4*>(reps + row * params.reps_strides.row + part * 8) =
        *reinterpret_cast<const uint4*>(staged + hopper::part_offset(kRepsRows, row, part));
  }
}

}  // namespace seer::sm90
