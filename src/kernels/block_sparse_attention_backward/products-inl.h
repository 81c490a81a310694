// The five products of one query block with one key block, each a few rows at a time in registers.
#if defined(SEER_ATTENTION_BACKWARD_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_BACKWARD_PRODUCTS_INL_H_
#undef SEER_ATTENTION_BACKWARD_PRODUCTS_INL_H_
#else
#define SEER_ATTENTION_BACKWARD_PRODUCTS_INL_H_
#endif

#include "kernels/block_sparse_attention/panel_product-inl.h"
#include "kernels/simd/exp2-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Which keys of the block the rows see: row r the first `first + r`, at least 0 and at most num_keys.
struct Visible {
  std::int64_t first;
  std::int64_t num_keys;

  HWY_INLINE std::int64_t Keys(std::int64_t row) const {
    const std::int64_t keys = first + row;
    return keys < 0 ? 0 : keys > num_keys ? num_keys : keys;
  }
  // The first row that sees a key.
  HWY_INLINE std::int64_t FirstRow(std::int64_t key) const {
    return key < first ? 0 : key - first + 1;
  }
};

// Fetches rows into the second-level cache, a few between two products: issued together they would fill the miss
// buffers.
class RowPrefetcher {
 public:
  struct Rows {
    const std::uint8_t* base;
    std::ptrdiff_t stride;  // bytes
    std::int64_t bytes;     // of a row
  };
  static constexpr int kTensors = 3;

  RowPrefetcher(const Rows (&tensors)[kTensors], std::int64_t rows, std::int64_t products)
      : rows_(rows), rows_a_product_((kTensors * rows + products - 1) / products) {
    for (int i = 0; i < kTensors; ++i) tensors_[i] = tensors[i];
  }

  HWY_INLINE void BeforeProduct() {
    for (std::int64_t i = 0; i < rows_a_product_ && tensor_ < kTensors; ++i) {
      const Rows& rows = tensors_[tensor_];
      const std::uint8_t* row = rows.base + row_ * rows.stride;
      for (std::int64_t byte = 0; byte < rows.bytes; byte += 64)
        __builtin_prefetch(row + byte, 0, 2);
      if (++row_ < rows_) continue;
      row_ = 0;
      ++tensor_;
    }
  }

 private:
  Rows tensors_[kTensors];
  std::int64_t rows_, rows_a_product_;
  std::int64_t row_ = 0;
  int tensor_ = 0;
};

// Calls product.Rows<n>(row) for groups of n rows that cover [0, num_rows).
template <class Product>
HWY_INLINE void ForRowGroups(const Product& product, std::int64_t num_rows,
                             RowPrefetcher& prefetcher) {
  std::int64_t row = 0;
  for (; row + kProductRows <= num_rows; row += kProductRows) {
    prefetcher.BeforeProduct();
    product.template Rows<kProductRows>(row);
  }
  if constexpr (kProductRows > 8) {
    if (row + 8 <= num_rows) {
      product.template Rows<8>(row);
      row += 8;
    }
  }
  if (row + 4 <= num_rows) {
    product.template Rows<4>(row);
    row += 4;
  }
  if (row + 2 <= num_rows) {
    product.template Rows<2>(row);
    row += 2;
  }
  if (row < num_rows) product.template Rows<1>(row);
}

template <int kRows>
HWY_INLINE void Clear(Accumulators<kRows>& acc) {
  const F32 d;
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) acc.v[row][0] = acc.v[row][1] = hn::Zero(d);
}

template <int kRows>
HWY_INLINE void LoadRows(const float* from, std::int64_t stride, Accumulators<kRows>& acc) {
  const F32 d;
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    acc.v[row][0] = hn::Load(d, from + row * stride);
    acc.v[row][1] = hn::Load(d, from + row * stride + kLanes);
  }
}

template <int kRows>
HWY_INLINE void StoreRows(const Accumulators<kRows>& acc, std::int64_t stride, float* to) {
  const F32 d;
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    hn::Store(acc.v[row][0], d, to + row * stride);
    hn::Store(acc.v[row][1], d, to + row * stride + kLanes);
  }
}

// What the two products that make scores share: rows times one panel of keys or values.
struct ScorePanel {
  const float* rows;     // [block_size][row_stride]: queries or grad_out
  const float* columns;  // [head_dim][kPanelWidth]: keys or values, transposed
  std::int64_t row_stride;
  std::int64_t head_dim;
  std::int64_t score_stride;
  std::int64_t first_key;  // of the panel
  Visible visible;

  // False, with zeros at `to`, where no row of the group sees a key of the panel.
  template <int kRows>
  HWY_INLINE bool Multiply(std::int64_t row, float* to, Accumulators<kRows>& acc) const {
    Clear<kRows>(acc);
    if (first_key >= visible.Keys(row + kRows - 1)) {
      StoreRows<kRows>(acc, score_stride, to);
      return false;
    }
    PanelProduct<FloatDot, kRows, false>(
        reinterpret_cast<const std::uint8_t*>(rows + row * row_stride), row_stride * 4, 4, columns,
        head_dim, acc);
    return true;
  }
};

// probs[row][key] = 2^(scale * log2(e) * q.k - lse2[row]), 0 for a hidden key.
struct Probabilities {
  ScorePanel panel;
  const float* lse2;  // [block_size]
  float scale_log2e;
  float* probs;  // [block_size][score_stride], from the panel's first key on

  template <int kRows>
  HWY_INLINE void Rows(std::int64_t row) const {
    const F32 d;
    float* to = probs + row * panel.score_stride;
    Accumulators<kRows> acc;
    if (!panel.Multiply<kRows>(row, to, acc)) return;
    const V32 scale = hn::Set(d, scale_log2e);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const V32 lse = hn::Set(d, lse2[row + i]);
      acc.v[i][0] = Exp2(d, hn::MulSub(acc.v[i][0], scale, lse));
      acc.v[i][1] = Exp2(d, hn::MulSub(acc.v[i][1], scale, lse));
    }
    StoreRows<kRows>(acc, panel.score_stride, to);
    if (panel.visible.Keys(row) >= panel.first_key + kPanelWidth) return;
    for (int i = 0; i < kRows; ++i) {  // some key is hidden from some row
      const V32 seen =
          hn::Set(d, static_cast<float>(panel.visible.Keys(row + i) - panel.first_key));
      float* line = to + i * panel.score_stride;
      const V32 key = hn::Iota(d, 0.0f);
      const V32 next = hn::Iota(d, static_cast<float>(kLanes));
      hn::Store(hn::IfThenElseZero(hn::Lt(key, seen), hn::Load(d, line)), d, line);
      hn::Store(hn::IfThenElseZero(hn::Lt(next, seen), hn::Load(d, line + kLanes)), d,
                line + kLanes);
    }
  }
};

// grad_scores[row][key] = probs[row][key] * (scale * grad_out.v - delta[row]), 0 for a hidden key.
struct ScoreGradients {
  ScorePanel panel;
  const float* delta;  // [block_size], multiplied by the scale
  float scale;
  const float* probs;
  float* grad_scores;  // [block_size][score_stride], from the panel's first key on; so is probs

  template <int kRows>
  HWY_INLINE void Rows(std::int64_t row) const {
    const F32 d;
    float* to = grad_scores + row * panel.score_stride;
    const float* prob = probs + row * panel.score_stride;
    Accumulators<kRows> acc;
    if (!panel.Multiply<kRows>(row, to, acc)) return;
    const V32 factor = hn::Set(d, scale);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const V32 less = hn::Set(d, delta[row + i]);
      for (int half = 0; half < kPanelVectors; ++half) {
        const V32 p = hn::Load(d, prob + i * panel.score_stride + half * kLanes);
        // A probability of 0 wins over a product that overflowed.
        acc.v[i][half] = hn::IfThenZeroElse(hn::Eq(p, hn::Zero(d)),
                                            hn::Mul(p, hn::MulSub(acc.v[i][half], factor, less)));
      }
    }
    StoreRows<kRows>(acc, panel.score_stride, to);
  }
};

// sums[key][column] += sum over the rows of scores[row][key] * rows[row][column]: grad_v from the probabilities and
// grad_out, grad_k from the scores' gradients and the queries.
struct KeySums {
  const float* scores;  // [num_rows][score_stride]
  std::int64_t score_stride;
  const float* rows;  // [num_rows][row_stride], from the panel's first column on; so are the sums
  float* sums;
  std::int64_t row_stride;
  std::int64_t num_rows;
  Visible visible;

  template <int kRows>
  HWY_INLINE void Rows(std::int64_t key) const {
    const std::int64_t first = visible.FirstRow(key);
    if (first >= num_rows) return;
    Accumulators<kRows> acc;
    float* to = sums + key * row_stride;
    LoadRows<kRows>(to, row_stride, acc);
    PanelProduct<FloatDot, kRows, true>(
        reinterpret_cast<const std::uint8_t*>(scores + first * score_stride + key), 4,
        score_stride * 4, rows + first * row_stride, num_rows - first, acc, row_stride);
    StoreRows<kRows>(acc, row_stride, to);
  }
};

// grad_q[row][column] (+)= sum over the keys of grad_scores[row][key] * keys[key][column].
struct QuerySums {
  const float* grad_scores;  // [block_size][score_stride]
  std::int64_t score_stride;
  const float* keys;  // [block_size][row_stride], from the panel's first column on; so is grad_q
  std::int64_t row_stride;
  float* grad_q;
  std::int64_t grad_q_stride;  // floats
  std::int64_t num_columns;    // real ones, of kPanelWidth
  bool is_first;               // nothing is there yet
  Visible visible;

  template <int kRows>
  HWY_INLINE void Rows(std::int64_t row) const {
    const F32 d;
    Accumulators<kRows> acc;
    Clear<kRows>(acc);
    PanelProduct<FloatDot, kRows, false>(
        reinterpret_cast<const std::uint8_t*>(grad_scores + row * score_stride), score_stride * 4,
        4, keys, visible.Keys(row + kRows - 1), acc, row_stride);
    float* to = grad_q + row * grad_q_stride;
    if (num_columns < kPanelWidth) return AddNarrow<kRows>(acc, to);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      float* line = to + i * grad_q_stride;
      if (!is_first) {
        acc.v[i][0] = hn::Add(acc.v[i][0], hn::LoadU(d, line));
        acc.v[i][1] = hn::Add(acc.v[i][1], hn::LoadU(d, line + kLanes));
      }
      hn::StoreU(acc.v[i][0], d, line);
      hn::StoreU(acc.v[i][1], d, line + kLanes);
    }
  }

 private:
  template <int kRows>
  void AddNarrow(const Accumulators<kRows>& acc, float* to) const {
    const F32 d;
    HWY_ALIGN float sums[kPanelWidth];
    for (int i = 0; i < kRows; ++i) {
      hn::Store(acc.v[i][0], d, sums);
      hn::Store(acc.v[i][1], d, sums + kLanes);
      float* line = to + i * grad_q_stride;
      for (std::int64_t column = 0; column < num_columns; ++column) {
        line[column] = is_first ? sums[column] : line[column] + sums[column];
      }
    }
  }
};

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
