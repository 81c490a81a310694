// The mathematics of one panel of query rows against one block of keys and values: scores, online
// softmax, output.
#if defined(SEER_ATTENTION_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_PANEL_INL_H_
#undef SEER_ATTENTION_PANEL_INL_H_
#else
#define SEER_ATTENTION_PANEL_INL_H_
#endif

#include "kernels/block_sparse_attention/panel_product-inl.h"
#include "kernels/block_sparse_attention/tile_data-inl.h"
#include "kernels/simd/exp2-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float kMinusInfinity = -__builtin_inff();

// One value for each row of a panel.
struct RowValues {
  V32 v0, v1;
};

// Fetches the rows of the next block's keys and values into the second-level cache, a row at a time between two pieces
// of the score product: issued together they would fill the miss buffers and stall the product.
class Prefetcher {
 public:
  // `rows` rows of `row_bytes` bytes at keys, then as many at values.
  Prefetcher(Source keys, Source values, std::int64_t rows, std::int64_t row_bytes)
      : keys_(keys), values_(values), rows_(rows), row_bytes_(row_bytes) {}

  HWY_INLINE void NextRow() {
    if (next_ >= 2 * rows_) return;
    const std::uint8_t* row = next_ < rows_ ? keys_.base + next_ * keys_.row_bytes
                                            : values_.base + (next_ - rows_) * values_.row_bytes;
    ++next_;
    for (std::int64_t byte = 0; byte < row_bytes_; byte += 64) __builtin_prefetch(row + byte, 0, 2);
  }

 private:
  Source keys_, values_;
  std::int64_t rows_, row_bytes_;
  std::int64_t next_ = 0;
};

template <class Product>
struct Panel {
  const float* q;        // [dim_units][kPanelWidth] 32-bit units
  float* out;            // [head_dim][kPanelWidth], sums relative to row_max
  float* row_max;        // [kPanelWidth] running maxima of scale * log2(e) * q.k
  float* row_sum;        // [kPanelWidth]
  float* scores;         // [block_size][kPanelWidth] scratch
  std::uint32_t* probs;  // [block_size / 2][kPanelWidth] scratch of the pair product
  std::int64_t dim_units;
  std::int64_t head_dim;
  std::int64_t prefetch_steps;  // steps of the score product between two prefetched rows
  float scale_log2e;

  // Attends to `num_keys` keys. Row i sees the keys below row0_seen + i. Returns the rows' maxima
  // over these keys.
  RowValues Attend(const Source& keys, const Source& values, std::int64_t num_keys,
                   std::int64_t row0_seen, Prefetcher& prefetcher) {
    RowValues peak = Scores(keys, num_keys, prefetcher);
    if (row0_seen < num_keys) peak = HideFuture(num_keys, row0_seen);
    Accumulate(values, num_keys, Softmax(num_keys, peak));
    return peak;
  }

 private:
  // scores[key][row] = scale * log2(e) * k.q; returns their maxima over the keys.
  RowValues Scores(const Source& keys, std::int64_t num_keys, Prefetcher& prefetcher) {
    const F32 d;
    RowValues peak{hn::Set(d, kMinusInfinity), hn::Set(d, kMinusInfinity)};
    std::int64_t key = 0;
    for (; key + kProductRows <= num_keys; key += kProductRows) {
      ScoreRows<kProductRows>(keys, key, prefetcher, peak);
    }
    if constexpr (kProductRows > 8) {
      if (key + 8 <= num_keys) {
        ScoreRows<8>(keys, key, prefetcher, peak);
        key += 8;
      }
    }
    if (key + 4 <= num_keys) {
      ScoreRows<4>(keys, key, prefetcher, peak);
      key += 4;
    }
    if (key + 2 <= num_keys) {
      ScoreRows<2>(keys, key, prefetcher, peak);
      key += 2;
    }
    if (key < num_keys) ScoreRows<1>(keys, key, prefetcher, peak);
    return peak;
  }

  template <int kRows>
  HWY_INLINE void ScoreRows(const Source& keys, std::int64_t key, Prefetcher& prefetcher,
                            RowValues& peak) {
    const F32 d;
    Accumulators<kRows> acc;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) acc.v[row][0] = acc.v[row][1] = hn::Zero(d);
    const std::uint8_t* first = keys.base + key * keys.row_bytes;
    for (std::int64_t unit = 0; unit < dim_units; unit += prefetch_steps) {
      prefetcher.NextRow();
      const std::int64_t steps =
          dim_units - unit < prefetch_steps ? dim_units - unit : prefetch_steps;
      PanelProduct<Product, kRows, false>(first + unit * 4, keys.row_bytes, 4,
                                          q + unit * kPanelWidth, steps, acc);
    }
    const V32 scale = hn::Set(d, scale_log2e);
    float* to = scores + key * kPanelWidth;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const V32 s0 = hn::Mul(acc.v[row][0], scale);
      const V32 s1 = hn::Mul(acc.v[row][1], scale);
      hn::Store(s0, d, to + row * kPanelWidth);
      hn::Store(s1, d, to + row * kPanelWidth + kLanes);
      peak.v0 = hn::Max(peak.v0, s0);
      peak.v1 = hn::Max(peak.v1, s1);
    }
  }

  // Sets the scores of keys at or after row0_seen + row to -inf. Returns the maxima over the keys
  // that are left.
  RowValues HideFuture(std::int64_t num_keys, std::int64_t row0_seen) {
    const F32 d;
    const V32 minus_infinity = hn::Set(d, kMinusInfinity);
    const V32 seen0 = hn::Add(hn::Iota(d, 0.0f), hn::Set(d, static_cast<float>(row0_seen)));
    const V32 seen1 = hn::Add(seen0, hn::Set(d, static_cast<float>(kLanes)));
    RowValues peak{minus_infinity, minus_infinity};
    float* at = scores;
    for (std::int64_t key = 0; key < num_keys; ++key, at += kPanelWidth) {
      const V32 index = hn::Set(d, static_cast<float>(key));
      const V32 s0 = hn::IfThenElse(hn::Lt(index, seen0), hn::Load(d, at), minus_infinity);
      const V32 s1 = hn::IfThenElse(hn::Lt(index, seen1), hn::Load(d, at + kLanes), minus_infinity);
      hn::Store(s0, d, at);
      hn::Store(s1, d, at + kLanes);
      peak.v0 = hn::Max(peak.v0, s0);
      peak.v1 = hn::Max(peak.v1, s1);
    }
    return peak;
  }

  // Turns scores into probabilities relative to the new running maxima, updates maxima and sums.
  // Returns the factors that bring earlier sums and outputs to the new maxima.
  RowValues Softmax(std::int64_t num_keys, const RowValues& peak) {
    const F32 d;
    const V32 old0 = hn::Load(d, row_max);
    const V32 old1 = hn::Load(d, row_max + kLanes);
    const V32 max0 = hn::Max(old0, peak.v0);
    const V32 max1 = hn::Max(old1, peak.v1);
    hn::Store(max0, d, row_max);
    hn::Store(max1, d, row_max + kLanes);
    // A row that has seen no key yet has maximum -inf; 0 in its place makes every probability
    // 2^-inf = 0.
    const V32 minus_infinity = hn::Set(d, kMinusInfinity);
    const V32 base0 = hn::IfThenZeroElse(hn::Eq(max0, minus_infinity), max0);
    const V32 base1 = hn::IfThenZeroElse(hn::Eq(max1, minus_infinity), max1);
    const RowValues rescale{Exp2(d, hn::Sub(old0, base0)), Exp2(d, hn::Sub(old1, base1))};
    // Each block is summed on its own first: the rounding error grows with the block, not with the
    // length.
    V32 sum0 = hn::Zero(d);
    V32 sum1 = hn::Zero(d);
    Product::Probabilities(scores, num_keys, base0, base1, probs, sum0, sum1);
    hn::Store(hn::MulAdd(hn::Load(d, row_sum), rescale.v0, sum0), d, row_sum);
    hn::Store(hn::MulAdd(hn::Load(d, row_sum + kLanes), rescale.v1, sum1), d, row_sum + kLanes);
    return rescale;
  }

  // out[dim][row] = out[dim][row] * rescale[row] + sum over keys of v[key][dim] * prob[key][row].
  void Accumulate(const Source& values, std::int64_t num_keys, const RowValues& rescale) {
    const float* from = Product::kPairs ? reinterpret_cast<const float*>(probs) : scores;
    const std::int64_t steps = Product::kPairs ? (num_keys + 1) / 2 : num_keys;
    std::int64_t dim = 0;
    for (; dim + kProductRows <= head_dim; dim += kProductRows) {
      OutRows<kProductRows>(values, dim, from, steps, rescale);
    }
    if constexpr (kProductRows > 8) {
      if (dim + 8 <= head_dim) {
        OutRows<8>(values, dim, from, steps, rescale);
        dim += 8;
      }
    }
    if (dim + 4 <= head_dim) {
      OutRows<4>(values, dim, from, steps, rescale);
      dim += 4;
    }
    if (dim + 2 <= head_dim) {
      OutRows<2>(values, dim, from, steps, rescale);
      dim += 2;
    }
    if (dim < head_dim) OutRows<1>(values, dim, from, steps, rescale);
  }

  template <int kRows>
  HWY_INLINE void OutRows(const Source& values, std::int64_t dim, const float* from,
                          std::int64_t steps, const RowValues& rescale) {
    const F32 d;
    float* to = out + dim * kPanelWidth;
    Accumulators<kRows> acc;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      acc.v[row][0] = hn::Mul(hn::Load(d, to + row * kPanelWidth), rescale.v0);
      acc.v[row][1] = hn::Mul(hn::Load(d, to + row * kPanelWidth + kLanes), rescale.v1);
    }
    PanelProduct<Product, kRows, true>(values.base + dim * 4, 4, values.row_bytes, from, steps,
                                       acc);
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      hn::Store(acc.v[row][0], d, to + row * kPanelWidth);
      hn::Store(acc.v[row][1], d, to + row * kPanelWidth + kLanes);
    }
  }
};

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
