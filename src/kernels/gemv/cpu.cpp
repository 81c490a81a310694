#include "kernels/gemv/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemv/cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#define SEER_TARGET_NAMESPACE HWY_NAMESPACE
#define SEER_BEFORE_NAMESPACE HWY_BEFORE_NAMESPACE
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/simd/float_lanes-inl.h"

// Once per instruction set. Nothing of the standard library in here: its inline functions would be
// compiled for this instruction set and could then be kept for the whole program.
HWY_BEFORE_NAMESPACE();
namespace seer {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// kRows neighbouring rows of the matrix against one vector. Each row has two sums, so that eight are in flight with
// four rows: as many as hide an FMA's latency. A row's result does not depend on kRows.
template <int kRows, class T>
HWY_INLINE void DotRows(const GemvParams& params, const T* HWY_RESTRICT x,
                        const T* HWY_RESTRICT weight, const T* bias, T* HWY_RESTRICT out) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> even[kRows], odd[kRows];
  for (int r = 0; r < kRows; ++r) even[r] = odd[r] = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= params.in_features; i += 2 * lanes) {
    const auto x0 = LoadFloats(d, x + i);
    const auto x1 = LoadFloats(d, x + i + lanes);
    for (int r = 0; r < kRows; ++r) {
      const T* row = weight + r * params.weight_stride + i;
      even[r] = hn::MulAdd(x0, LoadFloats(d, row), even[r]);
      odd[r] = hn::MulAdd(x1, LoadFloats(d, row + lanes), odd[r]);
    }
  }
  if (i + lanes <= params.in_features) {
    const auto x0 = LoadFloats(d, x + i);
    for (int r = 0; r < kRows; ++r) {
      even[r] = hn::MulAdd(x0, LoadFloats(d, weight + r * params.weight_stride + i), even[r]);
    }
    i += lanes;
  }
  for (int r = 0; r < kRows; ++r) {
    auto sum = hn::Set(one, hn::GetLane(hn::SumOfLanes(d, hn::Add(even[r], odd[r]))));
    for (std::int64_t rest = i; rest < params.in_features; ++rest) {
      sum = hn::MulAdd(LoadFloats(one, x + rest),
                       LoadFloats(one, weight + r * params.weight_stride + rest), sum);
    }
    if (bias != nullptr) sum = hn::Add(sum, LoadFloats(one, bias + r));
    StoreFloats(one, sum, out + r);
  }
}

// The same for the whole batch, for which the rows stay in the nearest cache.
template <int kRows, class T>
HWY_INLINE void DotBatch(const GemvParams& params, std::int64_t o) {
  const T* weight = static_cast<const T*>(params.weight) + o * params.weight_stride;
  const T* bias = params.bias == nullptr ? nullptr : static_cast<const T*>(params.bias) + o;
  for (std::int64_t b = 0; b < params.batch; ++b) {
    DotRows<kRows>(params, static_cast<const T*>(params.x) + b * params.x_stride, weight, bias,
                   static_cast<T*>(params.out) + b * params.out_features + o);
  }
}

template <class T>
void Gemv(const GemvParams& params, std::int64_t begin, std::int64_t end) {
  constexpr int kRows = 4;
  std::int64_t o = begin;
  for (; o + kRows <= end; o += kRows) DotBatch<kRows, T>(params, o);
  for (; o < end; ++o) DotBatch<1, T>(params, o);
}

void GemvFloat32(const GemvParams& params, std::int64_t begin, std::int64_t end) {
  Gemv<float>(params, begin, end);
}

void GemvBFloat16(const GemvParams& params, std::int64_t begin, std::int64_t end) {
  Gemv<std::uint16_t>(params, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace seer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <stdexcept>

#include "kernels/simd/kernel_of.h"

namespace seer {

void gemv_cpu(const GemvParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end) {
  if (params.element != Element::kFloat32 && params.element != Element::kBFloat16) {
    throw std::invalid_argument("gemv_cpu: expected float32 or bfloat16 elements");
  }
  const auto kernel = params.element == Element::kBFloat16 ? SEER_KERNEL_OF(isa, GemvBFloat16)
                                                           : SEER_KERNEL_OF(isa, GemvFloat32);
  kernel(params, begin, end);
}

}  // namespace seer
#endif  // HWY_ONCE
