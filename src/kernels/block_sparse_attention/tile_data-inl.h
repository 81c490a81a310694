// How a tile's queries, keys, values and outputs travel between the tensors and the panels, for
// each kind of product: float32, bfloat16 widened to float32, and bfloat16 in pairs for the BF16
// dot product.
#if defined(SEER_ATTENTION_TILE_DATA_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_TILE_DATA_INL_H_
#undef SEER_ATTENTION_TILE_DATA_INL_H_
#else
#define SEER_ATTENTION_TILE_DATA_INL_H_
#endif

#include "kernels/block_sparse_attention/panel_product-inl.h"
#include "kernels/block_sparse_attention/params.h"
#include "kernels/simd/exp2-inl.h"
#include "kernels/simd/transpose-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Where the inner product reads keys or values: 32-bit units, row by row.
struct Source {
  const std::uint8_t* base;
  std::ptrdiff_t row_bytes;
};

inline std::int64_t ElementBytes(const AttentionParams& params) {
  return params.element == Element::kFloat32 ? 4 : 2;
}

// float from the upper half of its bits; exact.
HWY_INLINE void WidenRow(const std::uint8_t* row, std::int64_t dim, float* out) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  const hn::Rebind<std::uint16_t, F32> dh;
  const auto* bits = reinterpret_cast<const std::uint16_t*>(row);
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const auto wide = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, bits + i)));
    hn::StoreU(hn::BitCast(d, wide), d, out + i);
  }
  for (; i < dim; ++i) {
    const std::uint32_t word = static_cast<std::uint32_t>(bits[i]) << 16;
    __builtin_memcpy(out + i, &word, 4);
  }
}

// Rounds to the nearest bfloat16, ties to even; NaN stays NaN.
HWY_INLINE std::uint16_t RoundToBFloat16(float x) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

HWY_INLINE void NarrowRow(const float* row, std::int64_t dim, std::uint8_t* out) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  const hn::Rebind<std::uint16_t, F32> dh;
  auto* bits = reinterpret_cast<std::uint16_t*>(out);
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const auto x = hn::LoadU(d, row + i);
    const auto word = hn::BitCast(du, x);
    const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(du, 1));
    const auto rounded = hn::Add(hn::Add(word, hn::Set(du, 0x7fff)), odd);
    const auto quiet = hn::Or(word, hn::Set(du, 0x400000));
    const auto kept = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded);
    hn::StoreU(hn::TruncateTo(dh, hn::ShiftRight<16>(kept)), dh, bits + i);
  }
  for (; i < dim; ++i) bits[i] = RoundToBFloat16(row[i]);
}

// Columns [rows, kPanelWidth) of a panel of `units` lines become 0.
HWY_INLINE void ClearPadding(float* panel, std::int64_t units, std::int64_t rows) {
  if (rows == kPanelWidth) return;
  for (std::int64_t unit = 0; unit < units; ++unit) {
    for (std::int64_t row = rows; row < kPanelWidth; ++row) panel[unit * kPanelWidth + row] = 0.0f;
  }
}

// Writes `rows` rows of head_dim outputs from a panel [head_dim][kPanelWidth]. `staging`
// [kPanelWidth][head_dim].
inline void StoreRows(const AttentionParams& params, const float* panel, std::int64_t rows,
                      float* staging, std::uint8_t* out) {
  const std::int64_t dim = params.head_dim;
  if (params.element == Element::kFloat32) {
    Transpose(panel, kPanelWidth, dim, rows, reinterpret_cast<float*>(out), params.out_strides.row);
    return;
  }
  Transpose(panel, kPanelWidth, dim, rows, staging, dim);
  for (std::int64_t row = 0; row < rows; ++row) {
    NarrowRow(staging + row * dim, dim, out + row * params.out_strides.row * 2);
  }
}

// p[key][row] = 2^(score - base), in place; adds them to the row sums.
HWY_INLINE void FloatProbabilities(float* scores, std::int64_t num_keys, V32 base0, V32 base1,
                                   V32& sum0, V32& sum1) {
  const F32 d;
  for (std::int64_t key = 0; key < num_keys; ++key, scores += kPanelWidth) {
    const V32 p0 = Exp2(d, hn::Sub(hn::Load(d, scores), base0));
    const V32 p1 = Exp2(d, hn::Sub(hn::Load(d, scores + kLanes), base1));
    hn::Store(p0, d, scores);
    hn::Store(p1, d, scores + kLanes);
    sum0 = hn::Add(sum0, p0);
    sum1 = hn::Add(sum1, p1);
  }
}

struct Float32Product : FloatDot {
  static constexpr bool kPairs = false;

  static void TransposeQueries(const AttentionParams& params, const std::uint8_t* q,
                               std::int64_t rows, float*, float* panel) {
    Transpose(reinterpret_cast<const float*>(q), params.q_strides.row, rows, params.head_dim, panel,
              kPanelWidth);
    ClearPadding(panel, params.head_dim, rows);
  }
  static Source Keys(const AttentionParams&, const Source& k, std::int64_t, float*) { return k; }
  static Source Values(const AttentionParams&, const Source& v, std::int64_t, float*) { return v; }
  static HWY_INLINE void Probabilities(float* scores, std::int64_t num_keys, V32 base0, V32 base1,
                                       std::uint32_t*, V32& sum0, V32& sum1) {
    FloatProbabilities(scores, num_keys, base0, base1, sum0, sum1);
  }
};

struct WidenedBFloat16Product : FloatDot {
  static constexpr bool kPairs = false;

  static void TransposeQueries(const AttentionParams& params, const std::uint8_t* q,
                               std::int64_t rows, float* staging, float* panel) {
    const std::int64_t dim = params.head_dim;
    WidenRows({q, params.q_strides.row * 2}, rows, dim, staging);
    Transpose(staging, dim, rows, dim, panel, kPanelWidth);
    ClearPadding(panel, dim, rows);
  }
  static Source Keys(const AttentionParams& params, const Source& k, std::int64_t num_keys,
                     float* scratch) {
    WidenRows(k, num_keys, params.head_dim, scratch);
    return {reinterpret_cast<const std::uint8_t*>(scratch), params.head_dim * 4};
  }
  static Source Values(const AttentionParams& params, const Source& v, std::int64_t num_keys,
                       float* scratch) {
    return Keys(params, v, num_keys, scratch);
  }
  static HWY_INLINE void Probabilities(float* scores, std::int64_t num_keys, V32 base0, V32 base1,
                                       std::uint32_t*, V32& sum0, V32& sum1) {
    FloatProbabilities(scores, num_keys, base0, base1, sum0, sum1);
  }

 private:
  static void WidenRows(const Source& from, std::int64_t rows, std::int64_t dim, float* out) {
    for (std::int64_t row = 0; row < rows; ++row)
      WidenRow(from.base + row * from.row_bytes, dim, out + row * dim);
  }
};

#ifdef SEER_HAVE_BF16_DOT

// Two bfloat16 products a lane, summed in float32. head_dim is even.
struct BFloat16PairProduct {
  static constexpr bool kPairs = true;

  static HWY_INLINE V32 MulAdd(V32 acc, std::int32_t a, V32 b) {
    return V32{_mm512_dpbf16_ps(acc.raw, reinterpret_cast<__m512bh>(_mm512_set1_epi32(a)),
                                reinterpret_cast<__m512bh>(b.raw))};
  }

  static void TransposeQueries(const AttentionParams& params, const std::uint8_t* q,
                               std::int64_t rows, float* staging, float* panel) {
    const std::int64_t units = params.head_dim / 2;
    for (std::int64_t row = 0; row < rows; ++row) {
      __builtin_memcpy(staging + row * units, q + row * params.q_strides.row * 2,
                       static_cast<std::size_t>(units) * 4);
    }
    Transpose(staging, units, rows, units, panel, kPanelWidth);
    ClearPadding(panel, units, rows);
  }
  static Source Keys(const AttentionParams&, const Source& k, std::int64_t, float*) { return k; }
  // The summed dimension is the key: two neighbouring keys' values become one unit, a missing last
  // key is 0.
  static Source Values(const AttentionParams& params, const Source& v, std::int64_t num_keys,
                       float* scratch) {
    const std::int64_t dim = params.head_dim;
    const __m512i low = InterleaveIndex(32);  // the second operand of the permutation starts at 32
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    for (std::int64_t key = 0; key < num_keys; key += 2) {
      const std::uint8_t* row = v.base + key * v.row_bytes;
      float* out = scratch + key / 2 * dim;
      for (std::int64_t i = 0; i < dim; i += 32) {
        const std::int64_t left = dim - i;
        const __mmask32 some = left >= 32 ? ~0u : (1u << left) - 1;
        const __m512i first = _mm512_maskz_loadu_epi16(some, row + i * 2);
        const __m512i second = key + 1 < num_keys
                                   ? _mm512_maskz_loadu_epi16(some, row + v.row_bytes + i * 2)
                                   : _mm512_setzero_si512();
        _mm512_mask_storeu_epi32(out + i, static_cast<__mmask16>(some),
                                 _mm512_permutex2var_epi16(first, low, second));
        _mm512_mask_storeu_epi32(out + i + 16, static_cast<__mmask16>(some >> 16),
                                 _mm512_permutex2var_epi16(first, high, second));
      }
    }
    return {reinterpret_cast<const std::uint8_t*>(scratch), dim * 4};
  }
  static HWY_INLINE void Probabilities(float* scores, std::int64_t num_keys, V32 base0, V32 base1,
                                       std::uint32_t* probs, V32& sum0, V32& sum1) {
    const F32 d;
    const __m512i interleave = InterleaveIndex(16);
    for (std::int64_t key = 0; key < num_keys;
         key += 2, scores += 2 * kPanelWidth, probs += kPanelWidth) {
      const V32 p0 = Exp2(d, hn::Sub(hn::Load(d, scores), base0));
      const V32 p1 = Exp2(d, hn::Sub(hn::Load(d, scores + kLanes), base1));
      sum0 = hn::Add(sum0, p0);
      sum1 = hn::Add(sum1, p1);
      V32 next0 = hn::Zero(d);
      V32 next1 = hn::Zero(d);
      if (key + 1 < num_keys) {
        next0 = Exp2(d, hn::Sub(hn::Load(d, scores + kPanelWidth), base0));
        next1 = Exp2(d, hn::Sub(hn::Load(d, scores + kPanelWidth + kLanes), base1));
        sum0 = hn::Add(sum0, next0);
        sum1 = hn::Add(sum1, next1);
      }
      StorePairs(interleave, p0, next0, probs);
      StorePairs(interleave, p1, next1, probs + kLanes);
    }
  }

 private:
  // 16-bit lanes 0, distance, 1, distance + 1, ...
  static HWY_INLINE __m512i InterleaveIndex(int distance) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_or_si512(
        lanes, _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(distance)), 16));
  }
  static HWY_INLINE void StorePairs(__m512i interleave, V32 first, V32 second, std::uint32_t* out) {
    // Lanes 0..15 of `both` are `first`, 16..31 are `second`.
    const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second.raw, first.raw));
    _mm512_store_si512(out, _mm512_permutexvar_epi16(interleave, both));
  }
};

#endif  // SEER_HAVE_BF16_DOT

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
