// One tile of attention: one query block of a few heads over the key blocks that the mask keeps.
#if defined(SEER_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_TILE_INL_H_
#undef SEER_ATTENTION_TILE_INL_H_
#else
#define SEER_ATTENTION_TILE_INL_H_
#endif

#include "kernels/block_sparse_attention/layout.h"
#include "kernels/block_sparse_attention/panel-inl.h"
#include "kernels/block_sparse_attention/tile_data-inl.h"
#include "kernels/simd/exp2-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class Product>
class Tile {
 public:
  Tile(const AttentionParams& params, const TileLayout& layout, const TileIndex& at,
       std::uint8_t* scratch)
      : p_(params), layout_(layout), at_(at), scratch_(scratch) {
    const std::int64_t first_row = at.q_block * params.block_size;
    const std::int64_t left = params.q_len - first_row;
    num_rows_ = left < params.block_size ? left : params.block_size;
    row0_seen_ = params.is_causal ? first_row + 1 + params.kv_len - params.q_len : params.kv_len;
    const std::int64_t seen = VisibleKeys(num_rows_ - 1);
    num_blocks_ = seen <= 0 ? 0 : ceil_div(seen, params.block_size);
    // One head's score products of a block take head_panels * block_size / kProductRows * dim_units steps: enough
    // prefetches for the 2 * block_size rows of the next block are spread over them.
    const std::int64_t steps = layout.head_panels * layout.dim_units / (2 * kProductRows);
    prefetch_steps_ = steps < 1 ? 1 : steps;
  }

  void Run() {
    LoadQueries();
    std::int64_t block = NextKept(0);
    while (block < num_blocks_) {
      const std::int64_t next = NextKept(block + 1);
      AttendBlock(block, next < num_blocks_ ? next : block);
      block = next;
    }
    for (std::int64_t head = 0; head < at_.num_heads; ++head) {
      StoreOutputs(head);
      if (p_.block_map != nullptr) StoreBlockMap(head);
    }
  }

 private:
  template <class T>
  T* At(std::size_t offset) const {
    return reinterpret_cast<T*>(scratch_ + offset);
  }
  std::int64_t PanelIndex(std::int64_t head, std::int64_t panel) const {
    return head * layout_.head_panels + panel;
  }
  float* RowMax(std::int64_t head) const {
    return At<float>(layout_.row_max) + PanelIndex(head, 0) * kPanelWidth;
  }
  float* RowSum(std::int64_t head) const {
    return At<float>(layout_.row_sum) + PanelIndex(head, 0) * kPanelWidth;
  }
  float* BlockMax(std::int64_t head, std::int64_t block) const {
    return At<float>(layout_.block_max) +
           (head * layout_.map_blocks + block) * layout_.head_panels * kPanelWidth;
  }
  Panel<Product> PanelAt(std::int64_t head, std::int64_t panel) const {
    const std::int64_t index = PanelIndex(head, panel);
    return {At<float>(layout_.q_panels) + index * layout_.dim_units * kPanelWidth,
            At<float>(layout_.out_panels) + index * p_.head_dim * kPanelWidth,
            At<float>(layout_.row_max) + index * kPanelWidth,
            At<float>(layout_.row_sum) + index * kPanelWidth,
            At<float>(layout_.scores),
            At<std::uint32_t>(layout_.probs),
            layout_.dim_units,
            p_.head_dim,
            prefetch_steps_,
            static_cast<float>(p_.scale * 1.4426950408889634)};
  }

  // Real query rows of a panel.
  std::int64_t PanelRows(std::int64_t panel) const {
    const std::int64_t rows = num_rows_ - panel * kPanelWidth;
    return rows < 0 ? 0 : rows > kPanelWidth ? kPanelWidth : rows;
  }
  // Number of keys that query row `row` of the tile sees; <= 0 for none.
  std::int64_t VisibleKeys(std::int64_t row) const {
    if (!p_.is_causal) return p_.kv_len;
    return row0_seen_ + row < p_.kv_len ? row0_seen_ + row : p_.kv_len;
  }
  std::int64_t BlockKeys(std::int64_t block) const {
    const std::int64_t left = p_.kv_len - block * p_.block_size;
    return left < p_.block_size ? left : p_.block_size;
  }
  // Keys of a block that some row of the panel sees; <= 0 for none.
  std::int64_t PanelKeys(std::int64_t panel, std::int64_t block) const {
    const std::int64_t seen =
        VisibleKeys(panel * kPanelWidth + PanelRows(panel) - 1) - block * p_.block_size;
    const std::int64_t keys = BlockKeys(block);
    return seen < keys ? seen : keys;
  }

  // The mask row of a head; only with a mask.
  const std::uint8_t* MaskRow(std::int64_t head) const {
    return p_.block_mask + at_.batch * p_.mask_strides.batch +
           (at_.first_head + head) / p_.mask_heads_per_group * p_.mask_strides.head +
           at_.q_block * p_.mask_strides.row;
  }
  bool Kept(std::int64_t head, std::int64_t block) const {
    return p_.block_mask == nullptr || MaskRow(head)[block] != 0;
  }
  // The first block from `block` on that some head of the tile keeps; num_blocks_ when there is
  // none.
  std::int64_t NextKept(std::int64_t block) const {
    if (p_.block_mask == nullptr) return block;
    std::int64_t first = num_blocks_;
    for (std::int64_t head = 0; head < at_.num_heads; ++head) {
      const std::uint8_t* kept = MaskRow(head);
      std::int64_t candidate = block;
      while (candidate < first && kept[candidate] == 0) ++candidate;
      first = candidate < first ? candidate : first;
    }
    return first;
  }

  const std::uint8_t* Row(const void* base, const Strides& strides, std::int64_t head,
                          std::int64_t row) const {
    return static_cast<const std::uint8_t*>(base) +
           (at_.batch * strides.batch + head * strides.head + row * strides.row) * ElementBytes(p_);
  }
  Source KeyRows(std::int64_t block) const {
    return {Row(p_.k, p_.k_strides, at_.kv_head, block * p_.block_size),
            p_.k_strides.row * ElementBytes(p_)};
  }
  Source ValueRows(std::int64_t block) const {
    return {Row(p_.v, p_.v_strides, at_.kv_head, block * p_.block_size),
            p_.v_strides.row * ElementBytes(p_)};
  }

  void LoadQueries() {
    const F32 d;
    for (std::int64_t head = 0; head < at_.num_heads; ++head) {
      const std::int64_t first_row = at_.q_block * p_.block_size;
      const Source q{Row(p_.q, p_.q_strides, at_.first_head + head, first_row),
                     p_.q_strides.row * ElementBytes(p_)};
      Prefetcher prefetcher(q, q, num_rows_, p_.head_dim * ElementBytes(p_));
      for (std::int64_t row = 0; row < num_rows_; ++row) prefetcher.NextRow();
    }
    for (std::int64_t head = 0; head < at_.num_heads; ++head) {
      for (std::int64_t row = 0; row < layout_.head_panels * kPanelWidth; row += kLanes) {
        hn::Store(hn::Set(d, kMinusInfinity), d, RowMax(head) + row);
        hn::Store(hn::Zero(d), d, RowSum(head) + row);
      }
      for (std::int64_t panel = 0; panel < layout_.head_panels; ++panel) {
        const std::int64_t row = at_.q_block * p_.block_size + panel * kPanelWidth;
        Product::TransposeQueries(p_, Row(p_.q, p_.q_strides, at_.first_head + head, row),
                                  PanelRows(panel), At<float>(layout_.rows),
                                  At<float>(layout_.q_panels) +
                                      PanelIndex(head, panel) * layout_.dim_units * kPanelWidth);
      }
    }
    __builtin_memset(
        At<float>(layout_.out_panels), 0,
        static_cast<std::size_t>(PanelIndex(at_.num_heads, 0) * p_.head_dim * kPanelWidth) *
            sizeof(float));
  }

  // Attends to a block while the next one, which no hardware prefetcher can guess from the mask, is
  // fetched.
  void AttendBlock(std::int64_t block, std::int64_t next) {
    Prefetcher prefetcher(KeyRows(next), ValueRows(next), BlockKeys(next),
                          p_.head_dim * ElementBytes(p_));
    const std::int64_t num_keys = BlockKeys(block);
    const Source keys = Product::Keys(p_, KeyRows(block), num_keys, At<float>(layout_.keys));
    const Source values =
        Product::Values(p_, ValueRows(block), num_keys, At<float>(layout_.values));
    for (std::int64_t head = 0; head < at_.num_heads; ++head) {
      if (!Kept(head, block)) continue;
      for (std::int64_t panel = 0; PanelRows(panel) > 0; ++panel) {
        const std::int64_t panel_keys = PanelKeys(panel, block);
        if (panel_keys <= 0) continue;
        const std::int64_t row0_seen = VisibleKeys(panel * kPanelWidth) - block * p_.block_size;
        const RowValues peak =
            PanelAt(head, panel).Attend(keys, values, panel_keys, row0_seen, prefetcher);
        if (layout_.map_blocks > 0) {
          const F32 d;
          float* at = BlockMax(head, block) + panel * kPanelWidth;
          hn::Store(peak.v0, d, at);
          hn::Store(peak.v1, d, at + kLanes);
        }
      }
    }
  }

  // Divides by the row sums and writes out and lse. A row without keys has sum 0 and output 0.
  void StoreOutputs(std::int64_t head) {
    const F32 d;
    const std::int64_t q_head = at_.first_head + head;
    const std::int64_t first_row = at_.q_block * p_.block_size;
    float* lse = p_.lse + (at_.batch * p_.num_q_heads + q_head) * p_.q_len + first_row;
    for (std::int64_t row = 0; row < num_rows_; ++row) {
      const float sum = RowSum(head)[row];
      constexpr float kLn2 = 0.69314718056f;
      lse[row] = sum == 0.0f ? kMinusInfinity : (RowMax(head)[row] + __builtin_log2f(sum)) * kLn2;
    }
    for (std::int64_t panel = 0; PanelRows(panel) > 0; ++panel) {
      const Panel<Product> at = PanelAt(head, panel);
      const V32 sum0 = hn::Load(d, at.row_sum);
      const V32 sum1 = hn::Load(d, at.row_sum + kLanes);
      const V32 inverse0 =
          hn::IfThenZeroElse(hn::Eq(sum0, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), sum0));
      const V32 inverse1 =
          hn::IfThenZeroElse(hn::Eq(sum1, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), sum1));
      for (std::int64_t dim = 0; dim < p_.head_dim; ++dim) {
        float* line = at.out + dim * kPanelWidth;
        hn::Store(hn::Mul(hn::Load(d, line), inverse0), d, line);
        hn::Store(hn::Mul(hn::Load(d, line + kLanes), inverse1), d, line + kLanes);
      }
      StoreRows(p_, at.out, PanelRows(panel), At<float>(layout_.rows),
                const_cast<std::uint8_t*>(
                    Row(p_.out, p_.out_strides, q_head, first_row + panel * kPanelWidth)));
    }
  }

  // block_map[block] = max over the rows of 2^(row maximum inside the block - base-2 lse).
  void StoreBlockMap(std::int64_t head) {
    const F32 d;
    const std::int64_t map_row =
        (at_.batch * p_.num_q_heads + at_.first_head + head) * ceil_div(p_.q_len, p_.block_size) +
        at_.q_block;
    float* map = p_.block_map + map_row * layout_.map_blocks;
    __builtin_memset(map, 0, static_cast<std::size_t>(layout_.map_blocks) * sizeof(float));
    // The base-2 lse replaces the running maxima; padding rows and rows without keys get +inf,
    // probability 0.
    float* lse = RowMax(head);
    for (std::int64_t row = 0; row < layout_.head_panels * kPanelWidth; ++row) {
      const float sum = RowSum(head)[row];
      lse[row] =
          row >= num_rows_ || sum == 0.0f ? -kMinusInfinity : lse[row] + __builtin_log2f(sum);
    }
    for (std::int64_t block = 0; block < num_blocks_; ++block) {
      if (!Kept(head, block)) continue;
      V32 peak = hn::Set(d, kMinusInfinity);
      for (std::int64_t panel = 0; PanelRows(panel) > 0; ++panel) {
        if (PanelKeys(panel, block) <= 0) continue;  // not attended, so BlockMax is not set
        for (std::int64_t row = panel * kPanelWidth; row < (panel + 1) * kPanelWidth;
             row += kLanes) {
          peak = hn::Max(peak,
                         hn::Sub(hn::Load(d, BlockMax(head, block) + row), hn::Load(d, lse + row)));
        }
      }
      map[block] = hn::GetLane(Exp2(d, hn::MaxOfLanes(d, peak)));
    }
  }

  const AttentionParams& p_;
  const TileLayout& layout_;
  const TileIndex at_;
  std::uint8_t* const scratch_;
  std::int64_t num_rows_;    // real query rows, at most block_size
  std::int64_t row0_seen_;   // keys seen by the first row when causal; may be <= 0 or above kv_len
  std::int64_t num_blocks_;  // key blocks that some row sees
  std::int64_t prefetch_steps_;
};

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
