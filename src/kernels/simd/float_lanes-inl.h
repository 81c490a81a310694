// Vectors of float32 from and to memory that holds float32 or bfloat16.
#if defined(SEER_SIMD_FLOAT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_SIMD_FLOAT_LANES_INL_H_
#undef SEER_SIMD_FLOAT_LANES_INL_H_
#else
#define SEER_SIMD_FLOAT_LANES_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Not called Load and Store: Highway's own, which want aligned memory, would be found by argument.
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* x) {
  return hn::LoadU(d, x);
}

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const std::uint16_t* x) {  // bfloat16
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, x))));
}

// The bits of the nearest bfloat16, ties to even, in the lower half of each lane; NaN becomes quiet.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> RoundToBFloat16([[maybe_unused]] D d,
                                                            hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> du32;
  const auto bits = hn::BitCast(du32, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du32, 0x7fff))));
  return hn::IfThenElse(hn::RebindMask(du32, hn::IsNaN(value)), hn::Set(du32, 0x7fc0), rounded);
}

template <class D>
HWY_INLINE void StoreFloats(D d, hn::Vec<D> value, float* out) {
  hn::StoreU(value, d, out);
}

template <class D>
HWY_INLINE void StoreFloats(D d, hn::Vec<D> value, std::uint16_t* out) {  // bfloat16
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::int32_t, D> d32;
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(d32, RoundToBFloat16(d, value))), d16, out);
}

// What storing and loading again would give.
template <class D>
HWY_INLINE hn::Vec<D> Rounded([[maybe_unused]] D d, hn::Vec<D> value, const float* /*type*/) {
  return value;
}

template <class D>
HWY_INLINE hn::Vec<D> Rounded(D d, hn::Vec<D> value, const std::uint16_t* /*type*/) {
  return hn::BitCast(d, hn::ShiftLeft<16>(RoundToBFloat16(d, value)));
}

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
