// One task of attention's backward: one key block with every query block that sees it.
#if defined(SEER_ATTENTION_BACKWARD_KEY_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SEER_ATTENTION_BACKWARD_KEY_BLOCK_INL_H_
#undef SEER_ATTENTION_BACKWARD_KEY_BLOCK_INL_H_
#else
#define SEER_ATTENTION_BACKWARD_KEY_BLOCK_INL_H_
#endif

#include <sched.h>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention/tile_data-inl.h"
#include "kernels/block_sparse_attention_backward/cpu.h"
#include "kernels/block_sparse_attention_backward/layout.h"
#include "kernels/block_sparse_attention_backward/products-inl.h"

SEER_BEFORE_NAMESPACE();
namespace seer::SEER_TARGET_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Where the sums of grad_q lie: in the tensor itself, or beside it.
struct QueryGradient {
  float* base;
  Strides strides;
};

inline QueryGradient SumsOfGradQ(const AttentionBackwardParams& params,
                                 const AttentionBackwardState& state) {
  if (state.grad_q == nullptr) return {static_cast<float*>(params.grad_q), params.grad_q_strides};
  const AttentionParams& forward = params.forward;
  const std::int64_t head = forward.q_len * forward.head_dim;
  return {state.grad_q, {forward.num_q_heads * head, head, forward.head_dim}};
}

class KeyBlock {
 public:
  KeyBlock(const AttentionBackwardParams& params, const AttentionBackwardState& state,
           const BackwardLayout& layout, std::int64_t task, std::uint8_t* scratch)
      : p_(params),
        f_(params.forward),
        state_(state),
        layout_(layout),
        scratch_(scratch),
        grad_q_(SumsOfGradQ(params, state)) {
    // Earlier key blocks are seen by more queries: they come first.
    const std::int64_t groups = f_.batch * f_.num_kv_heads;
    block_ = task / groups;
    batch_ = task % groups / f_.num_kv_heads;
    kv_head_ = task % groups % f_.num_kv_heads;
    const std::int64_t left = f_.kv_len - block_ * f_.block_size;
    num_keys_ = left < f_.block_size ? left : f_.block_size;
    num_q_blocks_ = ceil_div(f_.q_len, f_.block_size);
    if (f_.is_causal) {
      const std::int64_t first_row = block_ * f_.block_size - (f_.kv_len - f_.q_len);
      first_q_block_ = first_row <= 0 ? 0 : first_row / f_.block_size;
    }
    const std::int64_t row_groups = f_.block_size / kProductRows;
    num_products_ = row_groups * (2 * layout.key_panels + 3 * layout.dim_panels);
    if (num_products_ < 1) num_products_ = 1;
  }

  void Run() {
    const std::int64_t group_heads = f_.num_q_heads / f_.num_kv_heads;
    end_head_ = (kv_head_ + 1) * group_heads;
    Pair pair = NextKept({kv_head_ * group_heads, first_q_block_});
    if (pair.head < end_head_) LoadKeys();
    Zero(layout_.grad_keys);
    Zero(layout_.grad_values);
    while (pair.head < end_head_) {
      const Pair next = NextKept({pair.head, pair.q_block + 1});
      Attend(pair, next.head < end_head_ ? next : pair);
      pair = next;
    }
    StoreSums(layout_.grad_keys, p_.grad_k, p_.grad_k_strides);
    StoreSums(layout_.grad_values, p_.grad_v, p_.grad_v_strides);
  }

 private:
  struct Pair {  // of a query block with this key block
    std::int64_t head;
    std::int64_t q_block;
  };

  float* At(std::size_t offset) const { return reinterpret_cast<float*>(scratch_ + offset); }
  void Zero(std::size_t offset) const {
    __builtin_memset(scratch_ + offset, 0,
                     static_cast<std::size_t>(f_.block_size * layout_.row_stride) * 4);
  }
  const std::uint8_t* Row(const void* base, const Strides& strides, std::int64_t head,
                          std::int64_t row) const {
    return static_cast<const std::uint8_t*>(base) +
           (batch_ * strides.batch + head * strides.head + row * strides.row) * ElementBytes(f_);
  }
  std::int64_t NumRows(std::int64_t q_block) const {
    const std::int64_t left = f_.q_len - q_block * f_.block_size;
    return left < f_.block_size ? left : f_.block_size;
  }
  const std::uint8_t* MaskRow(const Pair& pair) const {
    return f_.block_mask + batch_ * f_.mask_strides.batch +
           pair.head / f_.mask_heads_per_group * f_.mask_strides.head +
           pair.q_block * f_.mask_strides.row;
  }

  // The first pair from `pair` on that the mask keeps, or one of head end_head_.
  Pair NextKept(Pair pair) const {
    for (; pair.head < end_head_; ++pair.head, pair.q_block = first_q_block_) {
      for (; pair.q_block < num_q_blocks_; ++pair.q_block) {
        if (f_.block_mask == nullptr || MaskRow(pair)[block_] != 0) return pair;
      }
    }
    return pair;
  }

  // Widened where needed, with zeros in the columns that only fill a panel.
  void LoadRow(const std::uint8_t* from, float* to) const {
    const auto columns = static_cast<std::size_t>(layout_.dim_panels * kPanelWidth);
    const auto dim = static_cast<std::size_t>(f_.head_dim);
    if (f_.element == Element::kFloat32) {
      __builtin_memcpy(to, from, dim * 4);
    } else {
      WidenRow(from, f_.head_dim, to);
    }
    if (columns > dim) __builtin_memset(to + dim, 0, (columns - dim) * 4);
  }

  void LoadColumns(const float* rows, float* columns) const {
    for (std::int64_t panel = 0; panel < layout_.key_panels; ++panel) {
      const std::int64_t left = num_keys_ - panel * kPanelWidth;
      const std::int64_t keys = left < 0 ? 0 : left > kPanelWidth ? kPanelWidth : left;
      float* to = columns + panel * f_.head_dim * kPanelWidth;
      Transpose(rows + panel * kPanelWidth * layout_.row_stride, layout_.row_stride, keys,
                f_.head_dim, to, kPanelWidth);
      ClearPadding(to, f_.head_dim, keys);
    }
  }

  void LoadKeys() const {
    const std::int64_t first = block_ * f_.block_size;
    float* const values = At(layout_.grad_outs);  // its rows are not in use yet
    for (std::int64_t key = 0; key < num_keys_; ++key) {
      LoadRow(Row(f_.k, f_.k_strides, kv_head_, first + key),
              At(layout_.keys) + key * layout_.row_stride);
      LoadRow(Row(f_.v, f_.v_strides, kv_head_, first + key), values + key * layout_.row_stride);
    }
    LoadColumns(At(layout_.keys), At(layout_.key_columns));
    LoadColumns(values, At(layout_.value_columns));
  }

  std::int64_t FlatHead(const Pair& pair) const { return batch_ * f_.num_q_heads + pair.head; }
  float* GradQRow(const Pair& pair) const {
    return grad_q_.base + batch_ * grad_q_.strides.batch + pair.head * grad_q_.strides.head +
           pair.q_block * f_.block_size * grad_q_.strides.row;
  }

  // A row that sees no key becomes zeros: what stands there must not reach a sum.
  void LoadQueries(const Pair& pair, const float* lse2) const {
    const std::int64_t first = pair.q_block * f_.block_size;
    const std::size_t row_bytes = static_cast<std::size_t>(layout_.dim_panels * kPanelWidth) * 4;
    for (std::int64_t row = 0; row < NumRows(pair.q_block); ++row) {
      float* const query = At(layout_.queries) + row * layout_.row_stride;
      float* const grad_out = At(layout_.grad_outs) + row * layout_.row_stride;
      if (lse2[row] == __builtin_inff()) {
        __builtin_memset(query, 0, row_bytes);
        __builtin_memset(grad_out, 0, row_bytes);
        continue;
      }
      LoadRow(Row(f_.q, f_.q_strides, pair.head, first + row), query);
      LoadRow(Row(p_.grad_out, p_.grad_out_strides, pair.head, first + row), grad_out);
    }
  }

  RowPrefetcher PrefetcherOf(const Pair& pair) const {
    const std::int64_t first = pair.q_block * f_.block_size;
    const std::int64_t bytes = f_.head_dim * ElementBytes(f_);
    const RowPrefetcher::Rows rows[RowPrefetcher::kTensors] = {
        {Row(f_.q, f_.q_strides, pair.head, first), f_.q_strides.row * ElementBytes(f_), bytes},
        {Row(p_.grad_out, p_.grad_out_strides, pair.head, first),
         p_.grad_out_strides.row * ElementBytes(f_), bytes},
        {reinterpret_cast<const std::uint8_t*>(GradQRow(pair)), grad_q_.strides.row * 4,
         f_.head_dim * 4}};
    return RowPrefetcher(rows, NumRows(pair.q_block), num_products_);
  }

  // Computes a pair while the rows of the next one are fetched.
  void Attend(const Pair& pair, const Pair& next) const {
    const std::int64_t num_rows = NumRows(pair.q_block);
    const std::int64_t first_row = pair.q_block * f_.block_size;
    const std::int64_t first = first_row + f_.kv_len - f_.q_len + 1 - block_ * f_.block_size;
    const Visible visible = {f_.is_causal ? first : num_keys_, num_keys_};
    const float* const lse2 = state_.lse2 + FlatHead(pair) * f_.q_len + first_row;
    const float* const delta = state_.delta + FlatHead(pair) * f_.q_len + first_row;
    RowPrefetcher prefetcher = PrefetcherOf(next);
    LoadQueries(pair, lse2);
    Scores(num_rows, visible, lse2, delta, prefetcher);
    AddToKeys(num_rows, visible, prefetcher);
    AddToQueries(pair, num_rows, visible, prefetcher);
  }

  void Scores(std::int64_t num_rows, const Visible& visible, const float* lse2, const float* delta,
              RowPrefetcher& prefetcher) const {
    constexpr double kLog2E = 1.4426950408889634;
    for (std::int64_t index = 0; index < layout_.key_panels; ++index) {
      const std::int64_t first_key = index * kPanelWidth;
      if (first_key >= num_keys_) break;
      ScorePanel panel = {At(layout_.queries),
                          At(layout_.key_columns) + first_key * f_.head_dim,
                          layout_.row_stride,
                          f_.head_dim,
                          layout_.score_stride,
                          first_key,
                          visible};
      float* const probs = At(layout_.probs) + first_key;
      ForRowGroups(Probabilities{panel, lse2, static_cast<float>(f_.scale * kLog2E), probs},
                   num_rows, prefetcher);
      panel.rows = At(layout_.grad_outs);
      panel.columns = At(layout_.value_columns) + first_key * f_.head_dim;
      ForRowGroups(ScoreGradients{panel, delta, static_cast<float>(f_.scale), probs,
                                  At(layout_.grad_scores) + first_key},
                   num_rows, prefetcher);
    }
  }

  void AddToKeys(std::int64_t num_rows, const Visible& visible, RowPrefetcher& prefetcher) const {
    for (std::int64_t panel = 0; panel < layout_.dim_panels; ++panel) {
      const std::int64_t column = panel * kPanelWidth;
      ForRowGroups(KeySums{At(layout_.probs), layout_.score_stride, At(layout_.grad_outs) + column,
                           At(layout_.grad_values) + column, layout_.row_stride, num_rows, visible},
                   num_keys_, prefetcher);
      ForRowGroups(
          KeySums{At(layout_.grad_scores), layout_.score_stride, At(layout_.queries) + column,
                  At(layout_.grad_keys) + column, layout_.row_stride, num_rows, visible},
          num_keys_, prefetcher);
    }
  }

  void AddToQueries(const Pair& pair, std::int64_t num_rows, const Visible& visible,
                    RowPrefetcher& prefetcher) const {
    std::int32_t* const done = state_.done + FlatHead(pair) * num_q_blocks_ + pair.q_block;
    const std::int64_t blocks_before = KeptBefore(pair);
    WaitFor(done, blocks_before);
    float* const grad_q = GradQRow(pair);
    for (std::int64_t panel = 0; panel < layout_.dim_panels; ++panel) {
      const std::int64_t column = panel * kPanelWidth;
      const std::int64_t left = f_.head_dim - column;
      ForRowGroups(
          QuerySums{At(layout_.grad_scores), layout_.score_stride, At(layout_.keys) + column,
                    layout_.row_stride, grad_q + column, grad_q_.strides.row,
                    left < kPanelWidth ? left : kPanelWidth, blocks_before == 0, visible},
          num_rows, prefetcher);
    }
    __atomic_store_n(done, static_cast<std::int32_t>(block_ + 1), __ATOMIC_RELEASE);
  }

  // One more than the last key block before this one that the query block keeps; 0 when there is none.
  std::int64_t KeptBefore(const Pair& pair) const {
    if (f_.block_mask == nullptr) return block_;
    const std::uint8_t* kept = MaskRow(pair);
    std::int64_t block = block_;
    while (block > 0 && kept[block - 1] == 0) --block;
    return block;
  }

  static void WaitFor(const std::int32_t* done, std::int64_t blocks) {
    constexpr int kSpins = 1024;
    for (int spins = 0; __atomic_load_n(done, __ATOMIC_ACQUIRE) < blocks; ++spins) {
      if (spins >= kSpins) sched_yield();
    }
  }

  void StoreSums(std::size_t sums, void* base, const Strides& strides) const {
    const auto bytes = static_cast<std::size_t>(f_.head_dim) * 4;
    for (std::int64_t key = 0; key < num_keys_; ++key) {
      const float* from = At(sums) + key * layout_.row_stride;
      auto* to =
          const_cast<std::uint8_t*>(Row(base, strides, kv_head_, block_ * f_.block_size + key));
      if (f_.element == Element::kFloat32) {
        __builtin_memcpy(to, from, bytes);
      } else {
        NarrowRow(from, f_.head_dim, to);
      }
    }
  }

  const AttentionBackwardParams& p_;
  const AttentionParams& f_;
  const AttentionBackwardState& state_;
  const BackwardLayout& layout_;
  std::uint8_t* const scratch_;
  const QueryGradient grad_q_;
  std::int64_t block_, batch_, kv_head_;
  std::int64_t num_keys_;  // real keys, at most block_size
  std::int64_t num_q_blocks_;
  std::int64_t first_q_block_ = 0;  // that sees a key of the block
  std::int64_t end_head_ = 0;       // of the query heads that share the key/value head
  std::int64_t num_products_;       // that prefetch, a pair
};

}  // namespace seer::SEER_TARGET_NAMESPACE
SEER_AFTER_NAMESPACE();

#endif
