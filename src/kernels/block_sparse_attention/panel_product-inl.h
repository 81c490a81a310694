// The inner product of attention's matmuls, forward and backward: a small block of rows times a panel
// of columns, held in registers.
#if defined(SEER_PANEL_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_PANEL_PRODUCT_INL_H_
#undef SEER_PANEL_PRODUCT_INL_H_
#else
#define SEER_PANEL_PRODUCT_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using V32 = hn::Vec<F32>;

inline constexpr int kLanes = HWY_MAX_BYTES / 4;
// A panel is kPanelVectors vectors of query rows; kProductRows rows of the other operand are
// accumulated at a time. With 32 registers: 12 x 2 accumulators, 2 panel vectors, 1 broadcast. With
// 16: 6 x 2, 2, 1.
inline constexpr int kPanelVectors = 2;
inline constexpr int kPanelWidth = kPanelVectors * kLanes;
inline constexpr int kProductRows = HWY_MAX_BYTES == 64 ? 12 : 6;

// One step is one 32-bit unit of the summed dimension: a float, or a pair of bfloat16.
struct FloatDot {
  static HWY_INLINE V32 MulAdd(V32 acc, std::int32_t a, V32 b) {
    const F32 d;
    return hn::MulAdd(hn::BitCast(d, hn::Set(I32(), a)), b, acc);
  }
};

template <int kRows>
struct Accumulators {
  V32 v[kRows][kPanelVectors];
};

// acc[row][column] += sum over steps of a(row, step) * panel[step][column].
//   a      32-bit units at a + row * a_row_bytes + step * a_step_bytes; kRowsAdjacent says that
//          a_row_bytes is 4
//   panel  [steps][panel_stride] 32-bit units, of which kPanelWidth are read; vector-aligned
template <class Dot, int kRows, bool kRowsAdjacent>
HWY_INLINE void PanelProduct(const std::uint8_t* HWY_RESTRICT a, std::ptrdiff_t a_row_bytes,
                             std::ptrdiff_t a_step_bytes, const float* HWY_RESTRICT panel,
                             std::int64_t steps, Accumulators<kRows>& acc,
                             std::ptrdiff_t panel_stride = kPanelWidth) {
  const F32 d;
  // Three rows a base pointer: base, base + stride, base + 2 * stride are all x86 addresses, so
  // twelve rows need four pointers and one stride instead of twelve pointers.
  constexpr int kBases = kRowsAdjacent ? 1 : (kRows + 2) / 3;
  const std::uint8_t* base[kBases];
  for (int i = 0; i < kBases; ++i) base[i] = a + 3 * i * a_row_bytes;
  for (std::int64_t step = 0; step < steps; ++step) {
    const V32 p0 = hn::Load(d, panel);
    const V32 p1 = hn::Load(d, panel + kLanes);
    panel += panel_stride;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      std::int32_t unit;
      if constexpr (kRowsAdjacent) {
        __builtin_memcpy(&unit, base[0] + row * 4, 4);
      } else {
        __builtin_memcpy(&unit, base[row / 3] + (row % 3) * a_row_bytes, 4);
      }
      acc.v[row][0] = Dot::MulAdd(acc.v[row][0], unit, p0);
      acc.v[row][1] = Dot::MulAdd(acc.v[row][1], unit, p1);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kBases; ++i) base[i] += a_step_bytes;
  }
}

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
