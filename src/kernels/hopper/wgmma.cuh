// Matrix products of a warpgroup (PTX ISA, wgmma): D[64, N] += A[64, 16] B[16, N] with float32 accumulators.
//
// Of the accumulators, thread t of the warpgroup holds, with lane l = t % 32:
//   d[4 j + 2 i + c] = D[16 (t / 32) + l / 4 + 8 i][8 j + 2 (l % 4) + c],   i, c in {0, 1}
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <concepts>
#include <cstdint>

#include "kernels/hopper/mbarrier.cuh"

namespace seer::hopper {

// What the tensor cores multiply here.
template <typename T>
concept TwoByteFloat = std::same_as<T, __nv_bfloat16> || std::same_as<T, __half>;

// Orders earlier accesses to registers before the products that follow; the first of a batch needs it.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits until at most `kPending` of the committed groups are not complete.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving or copying registers that a product in flight uses.
template <int kCount>
__device__ __forceinline__ void pin(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void pin(std::uint32_t (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}

// Four 8 x 8 matrices of two-byte elements (PTX ISA, ldmatrix): lane l gives the address of row l % 8 of matrix l / 8, and
// receives elements 2 (l % 4) and the next of row l / 4 of each.
__device__ __forceinline__ void load_matrices(std::uint32_t (&to)[4], std::uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row_address)
               : "memory");
}

// Describes operands in shared memory with rows of 128 bytes, swizzled in groups of 8 rows of 1024 bytes. `leading_bytes`
// is the distance from one 64-element column group to the next for an operand whose rows run along K, and not used for
// one whose rows lie along M or N.
__device__ __forceinline__ std::uint64_t matrix_descriptor(std::uint32_t address,
                                                           std::uint32_t leading_bytes) {
  constexpr std::uint64_t kGroupBytes = 1024, kSwizzle128 = 1;
  return static_cast<std::uint64_t>((address & 0x3FFFF) >> 4) |
         static_cast<std::uint64_t>(leading_bytes >> 4) << 16 | kGroupBytes >> 4 << 32 |
         kSwizzle128 << 62;
}

// ss: A and B from shared memory, both with rows along K (k is contiguous).
// rs: A from registers, as four packed pairs: (row, k), (row + 8, k), (row, k + 8), (row + 8, k + 8) with row = l / 4 and
//     k = 2 (l % 4); B from shared memory, k contiguous or, kRowsOfK, n contiguous (a row is one k).
// accumulate = 0 overwrites D. One macro for both types and sizes, since an instruction names each of its registers.
template <TwoByteFloat T, int kN>
struct Product;

// The accumulators of N = 64 and N = 128 as the instruction names them, and as operands.
#define SEER_NAMES_64                                                       \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define SEER_NAMES_128                                                               \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define SEER_OPERANDS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SEER_OPERANDS_16(i) \
  SEER_OPERANDS_4(i), SEER_OPERANDS_4(i + 4), SEER_OPERANDS_4(i + 8), SEER_OPERANDS_4(i + 12)
#define SEER_OPERANDS_64 SEER_OPERANDS_16(0), SEER_OPERANDS_16(16)
#define SEER_OPERANDS_128 SEER_OPERANDS_64, SEER_OPERANDS_16(32), SEER_OPERANDS_16(48)

// p0 to p6: the names of the seven operands behind the accumulators.
#define SEER_PRODUCT(T, TYPE, N, p0, p1, p2, p3, p4, p5, p6)                                       \
  template <>                                                                                      \
  struct Product<T, N> {                                                                           \
    static __device__ __forceinline__ void ss(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, \
                                              int accumulate) {                                    \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " p2                                          \
                   ", 0;\n"                                                                        \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE                 \
                   " " SEER_NAMES_##N ", " p0 ", " p1 ", p, 1, 1, 0, 0;\n}\n"                      \
                   : SEER_OPERANDS_##N                                                             \
                   : "l"(a), "l"(b), "r"(accumulate));                                             \
    }                                                                                              \
    template <bool kRowsOfK>                                                                       \
    static __device__ __forceinline__ void rs(float (&d)[N / 2], std::uint32_t a0,                 \
                                              std::uint32_t a1, std::uint32_t a2,                  \
                                              std::uint32_t a3, std::uint64_t b, int accumulate) { \
      asm volatile(                                                                                \
          "{\n.reg .pred p;\nsetp.ne.b32 p, " p5                                                   \
          ", 0;\n"                                                                                 \
          "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " " SEER_NAMES_##N       \
          ", {" p0 ", " p1 ", " p2 ", " p3 "}, " p4 ", p, 1, 1, " p6 ";\n}\n"                      \
          : SEER_OPERANDS_##N                                                                      \
          : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b), "r"(accumulate), "n"(kRowsOfK ? 1 : 0));   \
    }                                                                                              \
  }
SEER_PRODUCT(__nv_bfloat16, "bf16", 64, "%32", "%33", "%34", "%35", "%36", "%37", "%38");
SEER_PRODUCT(__nv_bfloat16, "bf16", 128, "%64", "%65", "%66", "%67", "%68", "%69", "%70");
SEER_PRODUCT(__half, "f16", 64, "%32", "%33", "%34", "%35", "%36", "%37", "%38");
SEER_PRODUCT(__half, "f16", 128, "%64", "%65", "%66", "%67", "%68", "%69", "%70");
#undef SEER_PRODUCT
#undef SEER_OPERANDS_128
#undef SEER_OPERANDS_64
#undef SEER_OPERANDS_16
#undef SEER_OPERANDS_4
#undef SEER_NAMES_128
#undef SEER_NAMES_64

}  // namespace seer::hopper
