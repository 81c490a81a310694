// Transposes a matrix of 32-bit units between row-major query rows and panels.
#if defined(SEER_SIMD_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_SIMD_TRANSPOSE_INL_H_
#undef SEER_SIMD_TRANSPOSE_INL_H_
#else
#define SEER_SIMD_TRANSPOSE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// dst[col][row] = src[row][col]; strides in 32-bit units. 4 x 4 squares in 128-bit vectors: this
// runs once a tile, and wider shuffles gained nothing that could be measured.
HWY_INLINE void Transpose(const float* HWY_RESTRICT src, std::int64_t src_stride, std::int64_t rows,
                          std::int64_t cols, float* HWY_RESTRICT dst, std::int64_t dst_stride) {
  const hn::FixedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> dw;
  const std::int64_t square_rows = rows / 4 * 4;
  const std::int64_t square_cols = cols / 4 * 4;
  for (std::int64_t row = 0; row < square_rows; row += 4) {
    const float* from = src + row * src_stride;
    for (std::int64_t col = 0; col < square_cols; col += 4) {
      const auto r0 = hn::LoadU(d, from + col);
      const auto r1 = hn::LoadU(d, from + src_stride + col);
      const auto r2 = hn::LoadU(d, from + 2 * src_stride + col);
      const auto r3 = hn::LoadU(d, from + 3 * src_stride + col);
      const auto lo01 = hn::BitCast(dw, hn::InterleaveLower(d, r0, r1));  // r0[0] r1[0] r0[1] r1[1]
      const auto lo23 = hn::BitCast(dw, hn::InterleaveLower(d, r2, r3));
      const auto hi01 = hn::BitCast(dw, hn::InterleaveUpper(d, r0, r1));
      const auto hi23 = hn::BitCast(dw, hn::InterleaveUpper(d, r2, r3));
      float* to = dst + col * dst_stride + row;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dw, lo01, lo23)), d, to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dw, lo01, lo23)), d, to + dst_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dw, hi01, hi23)), d, to + 2 * dst_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dw, hi01, hi23)), d, to + 3 * dst_stride);
    }
    for (std::int64_t col = square_cols; col < cols; ++col) {
      for (int i = 0; i < 4; ++i) dst[col * dst_stride + row + i] = from[i * src_stride + col];
    }
  }
  for (std::int64_t row = square_rows; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; ++col)
      dst[col * dst_stride + row] = src[row * src_stride + col];
  }
}

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
