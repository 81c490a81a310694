#include "bench/kernels/attention_backward_peer.h"

#include <ATen/ATen.h>

#include <tuple>

namespace seer::bench {
namespace {

struct Inputs {
  at::Tensor grad_out, q, k, v;
};

AttentionGradient gradient_of(std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients) {
  AttentionGradient result;
  std::tie(result.q, result.k, result.v) = std::move(gradients);
  return result;
}

AttentionBackwardPeer cpu_flash(const Inputs& in, const std::string& form) {
  const auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
      in.q, in.k, in.v, /*dropout_p=*/0.0, /*is_causal=*/true);
  return {"sdpa", form + ", flash kernel", [in, out = out, lse = lse] {
            return gradient_of(at::_scaled_dot_product_flash_attention_for_cpu_backward(
                in.grad_out, in.q, in.k, in.v, out, lse, /*dropout_p=*/0.0, /*is_causal=*/true));
          }};
}

AttentionBackwardPeer cudnn(const Inputs& in, const std::string& form) {
  const auto [out, lse, cum_q, cum_k, max_q, max_k, seed, offset, debug_mask] =
      at::_scaled_dot_product_cudnn_attention(in.q, in.k, in.v, /*attn_bias=*/{},
                                              /*compute_log_sumexp=*/true, /*dropout_p=*/0.0,
                                              /*is_causal=*/true);
  return {"sdpa", form + ", cuDNN",
          [in, out = out, lse = lse, cum_q = cum_q, cum_k = cum_k, max_q = max_q, max_k = max_k,
           seed = seed, offset = offset] {
            return gradient_of(at::_scaled_dot_product_cudnn_attention_backward_symint(
                in.grad_out, in.q, in.k, in.v, out, lse, seed, offset, /*attn_bias=*/{}, cum_q,
                cum_k, max_q, max_k, /*dropout_p=*/0.0, /*is_causal=*/true));
          }};
}

AttentionBackwardPeer gpu_flash(const Inputs& in, const std::string& form) {
  const auto [out, lse, cum_q, cum_k, max_q, max_k, seed, offset, debug_mask] =
      at::_scaled_dot_product_flash_attention(in.q, in.k, in.v, /*dropout_p=*/0.0,
                                              /*is_causal=*/true);
  return {"sdpa_flash", form + ", flash kernel",
          [in, out = out, lse = lse, cum_q = cum_q, cum_k = cum_k, max_q = max_q, max_k = max_k,
           seed = seed, offset = offset] {
            return gradient_of(at::_scaled_dot_product_flash_attention_backward_symint(
                in.grad_out, in.q, in.k, in.v, out, lse, cum_q, cum_k, max_q, max_k,
                /*dropout_p=*/0.0, /*is_causal=*/true, seed, offset));
          }};
}

}  // namespace

std::vector<AttentionBackwardPeer> attention_backward_peers(const at::Tensor& grad_out,
                                                            const at::Tensor& q,
                                                            const at::Tensor& k,
                                                            const at::Tensor& v) {
  const std::int64_t ratio = q.size(1) / k.size(1);
  const Inputs in = {grad_out, q, ratio == 1 ? k : k.repeat_interleave(ratio, 1),
                     ratio == 1 ? v : v.repeat_interleave(ratio, 1)};
  const std::string form =
      std::string("is_causal") + (ratio == 1 ? "" : ", keys and values expanded beforehand");
  if (q.is_cuda()) return {cudnn(in, form), gpu_flash(in, form)};
  return {cpu_flash(in, form)};
}

}  // namespace seer::bench
