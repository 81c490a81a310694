#include "model/self_attention.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "seer/ops.h"

namespace seer {
namespace {

// Turns rows [rows, heads, head_dim] into `out`; returns the pools of what they were, or nothing where none are wanted.
at::Tensor turn(const at::Tensor& rows, const RopeTable& table, const at::Tensor& out,
                const BlockPooling& pooling) {
  if (pooling.is_wanted())
    return rope_and_pool(rows, table.cos, table.sin, out, pooling.tokens, pooling.kinds);
  apply_rope(rows, table, out);
  return {};
}

}  // namespace

void SelfAttention::add_to(const at::Tensor& sum, const at::Tensor& x, const RopeTable& table,
                           std::span<const SequenceRows> sequences, std::int64_t layer,
                           const PartWatch& after_part) const {
  const std::int64_t rows = x.size(0);
  // [rows, q heads + 2 kv heads, head_dim]
  const at::Tensor projected = qkv(x).view({rows, num_q_heads + 2 * num_kv_heads, head_dim});
  at::Tensor unturned_q = projected.narrow(1, 0, num_q_heads);
  at::Tensor unturned_k = projected.narrow(1, num_q_heads, num_kv_heads);
  const at::Tensor new_v = projected.narrow(1, num_q_heads + num_kv_heads, num_kv_heads);
  if (q_norm) unturned_q = (*q_norm)(unturned_q);
  if (k_norm) unturned_k = (*k_norm)(unturned_k);
  const at::Tensor q = at::empty({rows, num_q_heads, head_dim}, x.options());
  std::vector<AttentionPooling> pooling;
  for (const SequenceRows& sequence : sequences)
    pooling.push_back(sequence.attention->pooling(layer, sequence.past));
  const bool turns_all_queries = std::none_of(
      pooling.begin(), pooling.end(), [](const AttentionPooling& of) { return of.q.is_wanted(); });
  if (turns_all_queries) apply_rope(unturned_q, table, q);

  // [rows, q heads, head_dim]; a single sequence's result is used as it lies.
  at::Tensor attended;
  if (sequences.size() != 1) attended = at::empty({rows, num_q_heads, head_dim}, x.options());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const SequenceRows& sequence = sequences[i];
    const auto rows_of = [&](const at::Tensor& packed) {
      return packed.narrow(0, sequence.first, sequence.length);
    };
    const std::int64_t kv_len = sequence.past + sequence.length;
    // [kv heads, capacity, head_dim]
    const at::Tensor keys = sequence.cache->keys(layer).select(0, sequence.cache_row);
    const at::Tensor values = sequence.cache->values(layer).select(0, sequence.cache_row);
    const RopeTable angles{.cos = rows_of(table.cos), .sin = rows_of(table.sin)};
    const at::Tensor k_pools =
        turn(rows_of(unturned_k), angles,
             keys.narrow(1, sequence.past, sequence.length).transpose(0, 1), pooling[i].k);
    at::Tensor q_pools;
    if (!turns_all_queries) q_pools = turn(rows_of(unturned_q), angles, rows_of(q), pooling[i].q);
    values.narrow(1, sequence.past, sequence.length).copy_(rows_of(new_v).transpose(0, 1));

    const auto by_head = [&](const at::Tensor& packed) {  // [1, heads, length, head_dim]
      return rows_of(packed).transpose(0, 1).unsqueeze(0);
    };
    if (after_part) after_part(LayerPart::kProjections);
    const at::Tensor out = sequence.attention
                               ->attend({.layer = layer,
                                         .q_before_rope = by_head(unturned_q),
                                         .k_before_rope = by_head(unturned_k),
                                         .q = by_head(q),
                                         .k = keys.narrow(1, 0, kv_len).unsqueeze(0),
                                         .v = values.narrow(1, 0, kv_len).unsqueeze(0),
                                         .q_pools = q_pools,
                                         .k_pools = k_pools})
                               .squeeze(0)
                               .transpose(0, 1);  // [length, q heads, head_dim]
    if (after_part) after_part(LayerPart::kAttention);
    if (sequences.size() == 1) {
      attended = out;
    } else {
      rows_of(attended).copy_(out);
    }
  }
  output.add_to(sum, attended.reshape({rows, num_q_heads * head_dim}));
  if (after_part) after_part(LayerPart::kProjections);
}

}  // namespace seer
