// 2^x for vectors of floats, once per instruction set. No include guard in the usual form: Highway
// includes this file again for each target.
#if defined(SEER_SIMD_EXP2_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_SIMD_EXP2_INL_H_
#undef SEER_SIMD_EXP2_INL_H_
#else
#define SEER_SIMD_EXP2_INL_H_
#endif

#include "hwy/highway.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// 2^x for x <= 127; 0 for x < -126 (also -inf), NaN for NaN. x = n + r with n the nearest integer; 2^n through the
// exponent bits, 2^r on [-1/2, 1/2] by the polynomial of degree 5 with constant term 1 and the least maximum relative
// error, 1.1e-7 (own fit). The constant is exactly 1 because the online softmax multiplies its sums by 2^0 at each
// block whose maximum is no news: an error there would grow with the number of blocks.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp2(D d, V x) {
  const hn::RebindToSigned<D> di;
  V n;
#if HWY_TARGET <= HWY_AVX3  // vrndscale and vscalef: one instruction each, underflow included
  constexpr bool kFull = sizeof(V) == 64;
  if constexpr (kFull) {
    n = V{_mm512_roundscale_ps(x.raw, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  } else {
    n = hn::Round(x);
  }
#else
  n = hn::Round(x);
#endif
  const V r = hn::Sub(x, n);
  V p = hn::Set(d, 1.32647288e-3f);
  p = hn::MulAdd(p, r, hn::Set(d, 9.671512559e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.550733738e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.402224209e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 6.931469776e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
#if HWY_TARGET <= HWY_AVX3
  if constexpr (kFull) return V{_mm512_scalef_ps(p.raw, n.raw)};
#endif
  const V scaled =
      hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::NearestInt(n))));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), scaled);
}

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
