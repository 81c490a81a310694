// One tile of attention: one query block of one head over the key blocks that the mask keeps, with
// an online softmax.
#if defined(SEER_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_TILE_INL_H_
#undef SEER_ATTENTION_TILE_INL_H_
#else
#define SEER_ATTENTION_TILE_INL_H_
#endif

#include "kernels/block_sparse_attention/layout.h"
#include "kernels/block_sparse_attention/panel_product-inl.h"
#include "kernels/block_sparse_attention/tile_data-inl.h"
#include "kernels/simd/exp2-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float kMinusInfinity = -__builtin_inff();

// Where the tile lies and which keys its rows see.
struct TileGeometry {
  std::int64_t batch, q_head, kv_head, q_block;
  std::int64_t num_rows;    // real query rows, at most block_size
  std::int64_t first_seen;  // keys seen by row 0; row i sees keys [0, first_seen + i) cut to
                            // kv_len; may be <= 0
};

template <class Dot>
class Tile {
 public:
  Tile(const AttentionParams& params, const TileLayout& layout, const TileGeometry& at,
       std::uint8_t* scratch)
      : p_(params), layout_(layout), at_(at), scratch_(scratch) {}

  void Run() {
    LoadQueries();
    const std::int64_t blocks = VisibleKeys(at_.num_rows - 1) <= 0
                                    ? 0
                                    : ceil_div(VisibleKeys(at_.num_rows - 1), p_.block_size);
    const std::uint8_t* kept = MaskRow();
    for (std::int64_t block = 0; block < blocks; ++block) {
      if (kept == nullptr || kept[block] != 0) Attend(block);
    }
    StoreResults();
    if (p_.block_map != nullptr) StoreBlockMap(kept, blocks);
  }

 private:
  template <class T>
  T* At(std::size_t offset) const {
    return reinterpret_cast<T*>(scratch_ + offset);
  }
  float* RowMax(std::int64_t panel) const {
    return At<float>(layout_.row_max) + panel * kPanelWidth;
  }
  float* RowSum(std::int64_t panel) const {
    return At<float>(layout_.row_sum) + panel * kPanelWidth;
  }

  // Number of keys that query row `row` of the tile sees; <= 0 for none.
  std::int64_t VisibleKeys(std::int64_t row) const {
    if (!p_.is_causal) return p_.kv_len;
    const std::int64_t seen = at_.first_seen + row;
    return seen < p_.kv_len ? seen : p_.kv_len;
  }

  const std::uint8_t* MaskRow() const {
    if (p_.block_mask == nullptr) return nullptr;
    return p_.block_mask + at_.batch * p_.mask_strides.batch +
           at_.q_head / p_.mask_heads_per_group * p_.mask_strides.head +
           at_.q_block * p_.mask_strides.row;
  }

  void LoadQueries() {
    const F32 d;
    for (std::int64_t panel = 0; panel < layout_.panels; ++panel) {
      for (int j = 0; j < kPanelWidth; j += kLanes) {
        hn::Store(hn::Set(d, kMinusInfinity), d, RowMax(panel) + j);
        hn::Store(hn::Zero(d), d, RowSum(panel) + j);
      }
      const std::int64_t first = panel * kPanelWidth;
      const std::int64_t rows = ClampRows(at_.num_rows - first);
      Dot::TransposeQueries(
          p_, Row(p_.q, p_.q_strides, at_.q_head, at_.q_block * p_.block_size + first), rows,
          At<float>(layout_.rows),
          At<float>(layout_.q_panels) + panel * layout_.dim_units * kPanelWidth);
    }
    __builtin_memset(
        At<float>(layout_.out_panels), 0,
        static_cast<std::size_t>(layout_.panels * p_.head_dim * kPanelWidth) * sizeof(float));
  }

  static std::int64_t ClampRows(std::int64_t rows) {
    return rows < 0 ? 0 : rows > kPanelWidth ? kPanelWidth : rows;
  }

  const std::uint8_t* Row(const void* base, const Strides& strides, std::int64_t head,
                          std::int64_t row) const {
    return static_cast<const std::uint8_t*>(base) +
           (at_.batch * strides.batch + head * strides.head + row * strides.row) * ElementBytes(p_);
  }

  void Attend(std::int64_t block) {
    const std::int64_t first_key = block * p_.block_size;
    const std::int64_t seen = VisibleKeys(at_.num_rows - 1) - first_key;
    const std::int64_t num_keys = seen < p_.block_size ? seen : p_.block_size;
    const Source keys = Dot::Keys(p_, Row(p_.k, p_.k_strides, at_.kv_head, first_key), num_keys,
                                  At<float>(layout_.keys));
    const Source values = Dot::Values(p_, Row(p_.v, p_.v_strides, at_.kv_head, first_key), num_keys,
                                      At<float>(layout_.values));
    for (std::int64_t panel = 0; panel < layout_.panels; ++panel) {
      const std::int64_t first_row = panel * kPanelWidth;
      if (first_row >= at_.num_rows) break;
      const std::int64_t last_row =
          (first_row + kPanelWidth < at_.num_rows ? first_row + kPanelWidth : at_.num_rows) - 1;
      const std::int64_t panel_seen = VisibleKeys(last_row) - first_key;
      const std::int64_t panel_keys = panel_seen < num_keys ? panel_seen : num_keys;
      if (panel_keys <= 0) continue;
      AttendPanel(block, panel, keys, values, panel_keys);
    }
  }

  void AttendPanel(std::int64_t block, std::int64_t panel, const Source& keys, const Source& values,
                   std::int64_t num_keys) {
    const F32 d;
    // Key `key` of the block is hidden from the panel's rows below key - unmasked; none is hidden
    // from row 0 when every key index is below `unmasked`.
    const std::int64_t unmasked = VisibleKeys(panel * kPanelWidth) - block * p_.block_size;
    Peak peak{hn::Set(d, kMinusInfinity), hn::Set(d, kMinusInfinity)};
    Scores(panel, keys, num_keys, peak);
    if (unmasked < num_keys)
      peak = HideFuture(num_keys, at_.first_seen + panel * kPanelWidth - block * p_.block_size);
    if (layout_.map_blocks > 0) {
      float* at = At<float>(layout_.block_max) + (block * layout_.panels + panel) * kPanelWidth;
      hn::Store(peak.v0, d, at);
      hn::Store(peak.v1, d, at + kLanes);
    }
    const Peak rescale = Softmax(panel, num_keys, peak);
    Accumulate(panel, values, num_keys, rescale);
  }

  // A value for each row of a panel.
  struct Peak {
    V32 v0, v1;
  };

  // scores[key][row] = scale * log2(e) * k.q for a panel, and their maxima over the keys.
  void Scores(std::int64_t panel, const Source& keys, std::int64_t num_keys, Peak& peak) {
    const float* q = At<float>(layout_.q_panels) + panel * layout_.dim_units * kPanelWidth;
    std::int64_t key = 0;
    for (; key + kProductRows <= num_keys; key += kProductRows)
      ScoreRows<kProductRows>(keys, key, q, peak);
    switch (num_keys - key) {
      case 11:
        ScoreRows<8>(keys, key, q, peak);
        ScoreRows<3>(keys, key + 8, q, peak);
        break;
      case 10:
        ScoreRows<8>(keys, key, q, peak);
        ScoreRows<2>(keys, key + 8, q, peak);
        break;
      case 9:
        ScoreRows<8>(keys, key, q, peak);
        ScoreRows<1>(keys, key + 8, q, peak);
        break;
      case 8: ScoreRows<8>(keys, key, q, peak); break;
      case 7:
        ScoreRows<4>(keys, key, q, peak);
        ScoreRows<3>(keys, key + 4, q, peak);
        break;
      case 6:
        ScoreRows<4>(keys, key, q, peak);
        ScoreRows<2>(keys, key + 4, q, peak);
        break;
      case 5:
        ScoreRows<4>(keys, key, q, peak);
        ScoreRows<1>(keys, key + 4, q, peak);
        break;
      case 4: ScoreRows<4>(keys, key, q, peak); break;
      case 3: ScoreRows<3>(keys, key, q, peak); break;
      case 2: ScoreRows<2>(keys, key, q, peak); break;
      case 1: ScoreRows<1>(keys, key, q, peak); break;
      default: break;
    }
  }

  template <int kRows>
  HWY_INLINE void ScoreRows(const Source& keys, std::int64_t key, const float* q, Peak& peak) {
    const F32 d;
    Accumulators<kRows> acc;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) acc.v[row][0] = acc.v[row][1] = hn::Zero(d);
    PanelProduct<Dot, kRows, false>(keys.base + key * keys.row_bytes, keys.row_bytes, 4, q,
                                    layout_.dim_units, acc);
    const V32 scale = hn::Set(d, static_cast<float>(p_.scale * 1.4426950408889634));
    float* scores = At<float>(layout_.scores) + key * kPanelWidth;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const V32 s0 = hn::Mul(acc.v[row][0], scale);
      const V32 s1 = hn::Mul(acc.v[row][1], scale);
      hn::Store(s0, d, scores + row * kPanelWidth);
      hn::Store(s1, d, scores + row * kPanelWidth + kLanes);
      peak.v0 = hn::Max(peak.v0, s0);
      peak.v1 = hn::Max(peak.v1, s1);
    }
  }

  // Sets the scores of keys after a row's position to -inf; row i of the panel sees keys below
  // row0_seen + i. Returns the maxima over the keys that are left.
  Peak HideFuture(std::int64_t num_keys, std::int64_t row0_seen) {
    const F32 d;
    const V32 minus_infinity = hn::Set(d, kMinusInfinity);
    const V32 seen0 = hn::Add(hn::Iota(d, 0.0f), hn::Set(d, static_cast<float>(row0_seen)));
    const V32 seen1 = hn::Add(seen0, hn::Set(d, static_cast<float>(kLanes)));
    Peak peak{minus_infinity, minus_infinity};
    float* scores = At<float>(layout_.scores);
    for (std::int64_t key = 0; key < num_keys; ++key, scores += kPanelWidth) {
      const V32 index = hn::Set(d, static_cast<float>(key));
      const V32 s0 = hn::IfThenElse(hn::Lt(index, seen0), hn::Load(d, scores), minus_infinity);
      const V32 s1 =
          hn::IfThenElse(hn::Lt(index, seen1), hn::Load(d, scores + kLanes), minus_infinity);
      hn::Store(s0, d, scores);
      hn::Store(s1, d, scores + kLanes);
      peak.v0 = hn::Max(peak.v0, s0);
      peak.v1 = hn::Max(peak.v1, s1);
    }
    return peak;
  }

  // Turns scores into probabilities relative to the rows' new running maxima and updates the
  // running maxima and sums. Returns the factors that bring earlier sums and outputs to the new
  // maxima.
  Peak Softmax(std::int64_t panel, std::int64_t num_keys, const Peak& peak) {
    const F32 d;
    float* row_max = RowMax(panel);
    float* row_sum = RowSum(panel);
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
    const Peak rescale{Exp2(d, hn::Sub(old0, base0)), Exp2(d, hn::Sub(old1, base1))};
    Peak sum{hn::Mul(hn::Load(d, row_sum), rescale.v0),
             hn::Mul(hn::Load(d, row_sum + kLanes), rescale.v1)};
    Dot::Probabilities(At<float>(layout_.scores), num_keys, base0, base1,
                       At<std::uint32_t>(layout_.probs), sum.v0, sum.v1);
    hn::Store(sum.v0, d, row_sum);
    hn::Store(sum.v1, d, row_sum + kLanes);
    return rescale;
  }

  // out[dim][row] = out[dim][row] * rescale[row] + sum over keys of v[key][dim] * prob[key][row].
  void Accumulate(std::int64_t panel, const Source& values, std::int64_t num_keys,
                  const Peak& rescale) {
    const float* probs = At<float>(Dot::kPairs ? layout_.probs : layout_.scores);
    const std::int64_t steps = Dot::kPairs ? (num_keys + 1) / 2 : num_keys;
    float* out = At<float>(layout_.out_panels) + panel * p_.head_dim * kPanelWidth;
    std::int64_t dim = 0;
    for (; dim + kProductRows <= p_.head_dim; dim += kProductRows) {
      OutRows<kProductRows>(values, dim, probs, steps, out, rescale);
    }
    for (; dim + 4 <= p_.head_dim; dim += 4) OutRows<4>(values, dim, probs, steps, out, rescale);
    for (; dim < p_.head_dim; ++dim) OutRows<1>(values, dim, probs, steps, out, rescale);
  }

  template <int kRows>
  HWY_INLINE void OutRows(const Source& values, std::int64_t dim, const float* probs,
                          std::int64_t steps, float* out, const Peak& rescale) {
    const F32 d;
    out += dim * kPanelWidth;
    Accumulators<kRows> acc;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      acc.v[row][0] = hn::Mul(hn::Load(d, out + row * kPanelWidth), rescale.v0);
      acc.v[row][1] = hn::Mul(hn::Load(d, out + row * kPanelWidth + kLanes), rescale.v1);
    }
    PanelProduct<Dot, kRows, true>(values.base + dim * 4, 4, values.row_bytes, probs, steps, acc);
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      hn::Store(acc.v[row][0], d, out + row * kPanelWidth);
      hn::Store(acc.v[row][1], d, out + row * kPanelWidth + kLanes);
    }
  }

  // Divides by the row sums and writes out and lse.
  void StoreResults() {
    const F32 d;
    const std::int64_t first_row = at_.q_block * p_.block_size;
    float* lse = p_.lse + (at_.batch * p_.num_q_heads + at_.q_head) * p_.q_len + first_row;
    for (std::int64_t panel = 0; panel < layout_.panels; ++panel) {
      const std::int64_t first = panel * kPanelWidth;
      const std::int64_t rows = ClampRows(at_.num_rows - first);
      if (rows == 0) break;
      const float* row_sum = RowSum(panel);
      const float* row_max = RowMax(panel);
      for (std::int64_t row = 0; row < rows; ++row) {
        lse[first + row] = row_sum[row] == 0.0f
                               ? kMinusInfinity
                               : (row_max[row] + __builtin_log2f(row_sum[row])) * 0.69314718056f;
      }
      float* out = At<float>(layout_.out_panels) + panel * p_.head_dim * kPanelWidth;
      Peak inverse{hn::Load(d, row_sum), hn::Load(d, row_sum + kLanes)};
      inverse.v0 = hn::IfThenZeroElse(hn::Eq(inverse.v0, hn::Zero(d)),
                                      hn::Div(hn::Set(d, 1.0f), inverse.v0));
      inverse.v1 = hn::IfThenZeroElse(hn::Eq(inverse.v1, hn::Zero(d)),
                                      hn::Div(hn::Set(d, 1.0f), inverse.v1));
      for (std::int64_t dim = 0; dim < p_.head_dim; ++dim) {
        float* at = out + dim * kPanelWidth;
        hn::Store(hn::Mul(hn::Load(d, at), inverse.v0), d, at);
        hn::Store(hn::Mul(hn::Load(d, at + kLanes), inverse.v1), d, at + kLanes);
      }
      StoreRows(
          p_, out, rows, At<float>(layout_.rows),
          const_cast<std::uint8_t*>(Row(p_.out, p_.out_strides, at_.q_head, first_row + first)));
    }
  }

  // block_map[block] = max over the rows of 2^(row maximum inside the block - base-2 lse).
  void StoreBlockMap(const std::uint8_t* kept, std::int64_t blocks) {
    const F32 d;
    const std::int64_t num_blocks = ceil_div(p_.kv_len, p_.block_size);
    const std::int64_t num_q_blocks = ceil_div(p_.q_len, p_.block_size);
    float* map =
        p_.block_map +
        ((at_.batch * p_.num_q_heads + at_.q_head) * num_q_blocks + at_.q_block) * num_blocks;
    __builtin_memset(map, 0, static_cast<std::size_t>(num_blocks) * sizeof(float));
    // The base-2 lse replaces the running maxima; padding rows and rows without keys get +inf:
    // probability 0.
    for (std::int64_t row = 0; row < layout_.panels * kPanelWidth; ++row) {
      const float sum = RowSum(0)[row];
      RowMax(0)[row] = row >= at_.num_rows || sum == 0.0f ? -kMinusInfinity
                                                          : RowMax(0)[row] + __builtin_log2f(sum);
    }
    for (std::int64_t block = 0; block < blocks; ++block) {
      if (kept != nullptr && kept[block] == 0) continue;
      V32 peak = hn::Set(d, kMinusInfinity);
      const float* block_max = At<float>(layout_.block_max) + block * layout_.panels * kPanelWidth;
      for (std::int64_t panel = 0; panel < layout_.panels; ++panel) {
        const std::int64_t first = panel * kPanelWidth;
        if (first >= at_.num_rows) break;
        const std::int64_t last =
            (first + kPanelWidth < at_.num_rows ? first + kPanelWidth : at_.num_rows) - 1;
        if (VisibleKeys(last) <= block * p_.block_size)
          continue;  // AttendPanel was not called: nothing stored
        for (int j = 0; j < kPanelWidth; j += kLanes) {
          peak = hn::Max(peak, hn::Sub(hn::Load(d, block_max + first + j),
                                       hn::Load(d, RowMax(0) + first + j)));
        }
      }
      map[block] = hn::GetLane(Exp2(d, hn::MaxOfLanes(d, peak)));
    }
  }

  const AttentionParams& p_;
  const TileLayout& layout_;
  const TileGeometry at_;
  std::uint8_t* const scratch_;
};

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
