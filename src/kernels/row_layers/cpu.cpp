#include "kernels/row_layers/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_layers/cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#define SEER_TARGET_NAMESPACE HWY_NAMESPACE
#define SEER_BEFORE_NAMESPACE HWY_BEFORE_NAMESPACE
#define SEER_AFTER_NAMESPACE HWY_AFTER_NAMESPACE
#include "kernels/simd/exp2-inl.h"
#include "kernels/simd/float_lanes-inl.h"

// Once per instruction set. Nothing of the standard library in here: its inline functions would be
// compiled for this instruction set and could then be kept for the whole program.
HWY_BEFORE_NAMESPACE();
namespace seer {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

HWY_INLINE std::int64_t WideLanes() {
  return static_cast<std::int64_t>(hn::Lanes(Wide()));
}

template <class T>
HWY_INLINE float SumOfSquares(const T* HWY_RESTRICT x, std::int64_t width) {
  const Wide d;
  const One one;
  const std::int64_t lanes = WideLanes();
  hn::Vec<Wide> even = hn::Zero(d), odd = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= width; i += 2 * lanes) {
    const auto x0 = LoadFloats(d, x + i);
    const auto x1 = LoadFloats(d, x + i + lanes);
    even = hn::MulAdd(x0, x0, even);
    odd = hn::MulAdd(x1, x1, odd);
  }
  auto sum = hn::Set(one, hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd))));
  for (; i < width; ++i) {
    const auto x0 = LoadFloats(one, x + i);
    sum = hn::MulAdd(x0, x0, sum);
  }
  return hn::GetLane(sum);
}

template <class D, class T>
HWY_INLINE void ScaleAt(D d, const T* x, const T* weight, float scale, T* out) {
  const auto normed =
      Rounded(d, hn::Mul(LoadFloats(d, x), hn::Set(d, scale)), static_cast<T*>(nullptr));
  StoreFloats(d, hn::Mul(normed, LoadFloats(d, weight)), out);
}

template <class T>
void RmsNorm(const RmsNormParams& params, std::int64_t begin, std::int64_t end) {
  const T* weight = static_cast<const T*>(params.weight);
  const std::int64_t lanes = WideLanes();
  const One one;
  for (std::int64_t index = begin * params.groups; index < end * params.groups; ++index) {
    const T* x = static_cast<const T*>(params.x) + index / params.groups * params.row_stride +
                 index % params.groups * params.group_stride;
    const float mean = SumOfSquares(x, params.width) / static_cast<float>(params.width);
    const float scale = hn::GetLane(
        hn::Div(hn::Set(one, 1.0f), hn::Sqrt(hn::Set(one, mean + static_cast<float>(params.eps)))));
    T* out = static_cast<T*>(params.out) + index * params.width;
    std::int64_t i = 0;
    for (; i + lanes <= params.width; i += lanes) {
      ScaleAt(Wide(), x + i, weight + i, scale, out + i);
    }
    for (; i < params.width; ++i) ScaleAt(one, x + i, weight + i, scale, out + i);
  }
}

template <class D, class T>
HWY_INLINE void TurnAt(D d, const T* x, const float* cos, const float* sin, std::int64_t half,
                       T* out) {
  const auto c = hn::LoadU(d, cos);
  const auto s = hn::LoadU(d, sin);
  const auto first = LoadFloats(d, x);
  const auto second = LoadFloats(d, x + half);
  StoreFloats(d, hn::MulSub(first, c, hn::Mul(second, s)), out);
  StoreFloats(d, hn::MulAdd(second, c, hn::Mul(first, s)), out + half);
}

template <class T>
void Rope(const RopeParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = params.head_dim / 2;
  const std::int64_t lanes = WideLanes();
  for (std::int64_t row = begin; row < end; ++row) {
    const float* cos = params.cos + row * half;
    const float* sin = params.sin + row * half;
    for (std::int64_t head = 0; head < params.heads; ++head) {
      const T* x =
          static_cast<const T*>(params.x) + row * params.x_row_stride + head * params.x_head_stride;
      T* out =
          static_cast<T*>(params.out) + row * params.out_row_stride + head * params.out_head_stride;
      std::int64_t i = 0;
      for (; i + lanes <= half; i += lanes) TurnAt(Wide(), x + i, cos + i, sin + i, half, out + i);
      for (; i < half; ++i) TurnAt(One(), x + i, cos + i, sin + i, half, out + i);
    }
  }
}

template <class D, class T>
HWY_INLINE void SwigluAt(D d, const T* gate, const T* up, T* out) {
  const auto x = LoadFloats(d, gate);
  // x / (1 + 2^(-x log2 e)), and 0 where the power leaves float32. NaN comes through, since no comparison holds for it.
  const auto limit = hn::Set(d, 127.0f);
  const auto power = hn::Mul(x, hn::Set(d, -1.442695041f));
  const auto quotient = hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp2(d, hn::Min(power, limit))));
  const auto silu = hn::IfThenZeroElse(hn::Gt(power, limit), quotient);
  StoreFloats(d, hn::Mul(Rounded(d, silu, static_cast<T*>(nullptr)), LoadFloats(d, up)), out);
}

template <class T>
void Swiglu(const SwigluParams& params, std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = WideLanes();
  for (std::int64_t row = begin; row < end; ++row) {
    const T* gate = static_cast<const T*>(params.gate_up) + row * params.row_stride;
    const T* up = gate + params.width;
    T* out = static_cast<T*>(params.out) + row * params.width;
    std::int64_t i = 0;
    for (; i + lanes <= params.width; i += lanes) SwigluAt(Wide(), gate + i, up + i, out + i);
    for (; i < params.width; ++i) SwigluAt(One(), gate + i, up + i, out + i);
  }
}

void RmsNormFloat32(const RmsNormParams& params, std::int64_t begin, std::int64_t end) {
  RmsNorm<float>(params, begin, end);
}
void RmsNormBFloat16(const RmsNormParams& params, std::int64_t begin, std::int64_t end) {
  RmsNorm<std::uint16_t>(params, begin, end);
}
void RopeFloat32(const RopeParams& params, std::int64_t begin, std::int64_t end) {
  Rope<float>(params, begin, end);
}
void RopeBFloat16(const RopeParams& params, std::int64_t begin, std::int64_t end) {
  Rope<std::uint16_t>(params, begin, end);
}
void SwigluFloat32(const SwigluParams& params, std::int64_t begin, std::int64_t end) {
  Swiglu<float>(params, begin, end);
}
void SwigluBFloat16(const SwigluParams& params, std::int64_t begin, std::int64_t end) {
  Swiglu<std::uint16_t>(params, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace seer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <stdexcept>

#include "kernels/simd/kernel_of.h"

namespace seer {
namespace {

bool is_bfloat16(Element element) {
  if (element != Element::kFloat32 && element != Element::kBFloat16) {
    throw std::invalid_argument("row layers: expected float32 or bfloat16 elements");
  }
  return element == Element::kBFloat16;
}

}  // namespace

void rms_norm_cpu(const RmsNormParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end) {
  const auto kernel = is_bfloat16(params.element) ? SEER_KERNEL_OF(isa, RmsNormBFloat16)
                                                  : SEER_KERNEL_OF(isa, RmsNormFloat32);
  kernel(params, begin, end);
}

void rope_cpu(const RopeParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end) {
  const auto kernel = is_bfloat16(params.element) ? SEER_KERNEL_OF(isa, RopeBFloat16)
                                                  : SEER_KERNEL_OF(isa, RopeFloat32);
  kernel(params, begin, end);
}

void swiglu_cpu(const SwigluParams& params, CpuIsa isa, std::int64_t begin, std::int64_t end) {
  const auto kernel = is_bfloat16(params.element) ? SEER_KERNEL_OF(isa, SwigluBFloat16)
                                                  : SEER_KERNEL_OF(isa, SwigluFloat32);
  kernel(params, begin, end);
}

}  // namespace seer
#endif  // HWY_ONCE
