#include "attention/dense_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logaddexp.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "seer/ops.h"

namespace seer {
namespace {

// (out, natural lse) of LibTorch's attention; k has the heads of q.
std::tuple<at::Tensor, at::Tensor> flash(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, bool is_causal) {
  if (q.is_cuda()) {
    const auto results =
        at::_scaled_dot_product_flash_attention(q, k, v, /*dropout_p=*/0.0, is_causal);
    return {std::get<0>(results), std::get<1>(results)};
  }
  return at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, /*dropout_p=*/0.0, is_causal);
}

// One query a head. The queries that share a key head become the rows of one attention, so that keys and values are
// read once.
at::Tensor decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t num_kv_heads = k.size(1);
  const at::Tensor grouped =
      q.reshape({q.size(0), num_kv_heads, q.size(1) / num_kv_heads, q.size(3)});
  return std::get<0>(flash(grouped, k, v, /*is_causal=*/false)).reshape(q.sizes());
}

at::Tensor seer_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return std::get<0>(block_sparse_attention(q, k, v, /*block_mask=*/std::nullopt));
}

// The keys before the queries are all visible, the others make a square: two attentions without a mask tensor, joined
// by their lse.
at::Tensor causal_flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t q_len = q.size(2);
  const std::int64_t past = k.size(2) - q_len;
  const auto [own, own_lse] =
      flash(q, k.narrow(2, past, q_len), v.narrow(2, past, q_len), /*is_causal=*/true);
  if (past == 0) return own;
  const auto [before, before_lse] =
      flash(q, k.narrow(2, 0, past), v.narrow(2, 0, past), /*is_causal=*/false);
  const at::Tensor lse = at::logaddexp(own_lse, before_lse);
  const auto weight = [&](const at::Tensor& part) { return (part - lse).exp().unsqueeze(-1); };
  return (own * weight(own_lse) + before * weight(before_lse)).to(q.scalar_type());
}

at::Tensor sdpa_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t num_kv_heads = k.size(1);
  const std::int64_t group = q.size(1) / num_kv_heads;
  if (group == 1) return causal_flash(q, k, v);
  // [1, heads, q_len, head_dim] in the memory order of q's rows: [1, q_len, heads, head_dim].
  const at::Tensor out =
      at::empty({q.size(0), q.size(2), q.size(1), q.size(3)}, q.options()).transpose(1, 2);
  for (std::int64_t member = 0; member < group; ++member) {
    const auto heads = [&](const at::Tensor& x) { return x.slice(1, member, x.size(1), group); };
    heads(out).copy_(causal_flash(heads(q), k, v));
  }
  return out;
}

}  // namespace

at::Tensor dense_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           AttentionBackend backend) {
  if (q.size(2) == 1) return decode_attention(q, k, v);
  return backend == AttentionBackend::kSeer ? seer_attention(q, k, v) : sdpa_attention(q, k, v);
}

}  // namespace seer
