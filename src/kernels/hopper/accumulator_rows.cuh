// Accumulators of wgmma as two-byte elements: packed for the next product, and stored as rows.
#pragma once

#include "kernels/hopper/wgmma.cuh"

namespace seer::hopper {

template <TwoByteFloat T>
__device__ __forceinline__ std::uint32_t pack(float low, float high) {
  std::uint32_t packed;
  if constexpr (std::same_as<T, __nv_bfloat16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  }
  return packed;
}

// Accumulators of 64 columns and more as the left operand of Product::rs: operands[4 step .. 4 step + 3] are of k-step
// `step`.
template <TwoByteFloat T, int kCount>
__device__ __forceinline__ void pack_operands(std::uint32_t (&operands)[kCount / 2],
                                              const float (&accumulators)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    operands[i] = pack<T>(accumulators[2 * i], accumulators[2 * i + 1]);
  }
}

// piece[k] of thread t of four neighbours becomes piece[t] of thread k.
__device__ __forceinline__ void transpose_quad(std::uint32_t (&piece)[4], int thread) {
  const bool odd = thread & 1, high = thread & 2;
#pragma unroll
  for (int k = 0; k < 4; k += 2) {
    const std::uint32_t given = odd ? piece[k] : piece[k + 1];
    const std::uint32_t got = __shfl_xor_sync(~0u, given, 1);
    (odd ? piece[k] : piece[k + 1]) = got;
  }
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const std::uint32_t given = high ? piece[k] : piece[k + 2];
    const std::uint32_t got = __shfl_xor_sync(~0u, given, 2);
    (high ? piece[k] : piece[k + 2]) = got;
  }
}

// Stores row i (0 or 1) of the thread's two, times `factor`, at `row`, where `is_inside`. The four threads of a row trade
// pieces, so that each stores 16 bytes at a time; a whole warp calls it.
template <TwoByteFloat T, int kCount>
__device__ __forceinline__ void store_row(T* row, const float (&accumulators)[kCount], int i,
                                          float factor, bool is_inside) {
  const int own = threadIdx.x % 4;
#pragma unroll
  for (int columns = 0; columns < kCount / 4; columns += 4) {
    std::uint32_t piece[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int at = 4 * (columns + k) + 2 * i;
      piece[k] = pack<T>(accumulators[at] * factor, accumulators[at + 1] * factor);
    }
    transpose_quad(piece, own);
    if (is_inside) {
      *reinterpret_cast<uint4*>(row + (columns + own) * 8) =
          make_uint4(piece[0], piece[1], piece[2], piece[3]);
    }
  }
}

}  // namespace seer::hopper
