#include "bench/kernels/attention_peer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace seer::bench {
namespace {

constexpr int kTrials = 2;

struct Form {
  std::string name;
  at::Tensor q, k, v;
  std::optional<at::Tensor> mask;  // where is_causal would be aligned at the start
  bool enable_gqa;

  at::Tensor call() const {
    return at::scaled_dot_product_attention(q, k, v, mask, 0.0, !mask.has_value(), std::nullopt,
                                            enable_gqa);
  }

  std::string kernel() const {
    constexpr std::int64_t kMath = 0, kFlash = 1;  // at::SDPBackend
    const std::int64_t choice =
        at::_fused_sdp_choice(q, k, v, mask, 0.0, !mask.has_value(), std::nullopt, enable_gqa);
    return choice == kFlash ? "flash kernel" : choice == kMath ? "math fallback" : "other kernel";
  }
};

double seconds_of(const Form& form) {
  const auto begin = std::chrono::steady_clock::now();
  form.call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

AttentionPeer peer_of(Form form) {
  std::string name = form.name + ", " + form.kernel();
  return {"sdpa", std::move(name), [form = std::move(form)] { return form.call(); }};
}

AttentionPeer fastest_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const std::function<void()>& before_call) {
  const std::int64_t q_len = q.size(2), kv_len = k.size(2);
  const std::int64_t ratio = q.size(1) / k.size(1);
  std::optional<at::Tensor> mask;
  std::string causal = "is_causal";
  if (q_len != kv_len) {
    mask = at::ones({q_len, kv_len}, at::kBool).tril_(kv_len - q_len);
    causal = "attn_mask (is_causal is aligned at the start)";
  }
  Form plain{causal, q, k, v, mask, /*enable_gqa=*/ratio > 1};
  if (ratio == 1) return peer_of(std::move(plain));
  plain.name += ", enable_gqa";
  Form expanded{causal + ", keys and values expanded beforehand",
                q,
                k.repeat_interleave(ratio, 1),
                v.repeat_interleave(ratio, 1),
                mask,
                /*enable_gqa=*/false};
  double plain_seconds = 0, expanded_seconds = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    before_call();
    const double of_plain = seconds_of(plain);
    before_call();
    const double of_expanded = seconds_of(expanded);
    plain_seconds = trial == 0 ? of_plain : std::min(plain_seconds, of_plain);
    expanded_seconds = trial == 0 ? of_expanded : std::min(expanded_seconds, of_expanded);
  }
  return peer_of(std::move(plain_seconds <= expanded_seconds ? plain : expanded));
}

// The operators behind scaled_dot_product_attention, called by name: its own choice between them depends on settings of
// the process.
std::vector<AttentionPeer> gpu_peers(const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v) {
  const std::int64_t ratio = q.size(1) / k.size(1);
  const at::Tensor keys = ratio == 1 ? k : k.repeat_interleave(ratio, 1);
  const at::Tensor values = ratio == 1 ? v : v.repeat_interleave(ratio, 1);
  const std::string form =
      std::string("is_causal") + (ratio == 1 ? "" : ", keys and values expanded beforehand");
  return {{"sdpa", form + ", cuDNN",
           [q, keys, values] {
             return std::get<0>(at::_scaled_dot_product_cudnn_attention(
                 q, keys, values, /*attn_bias=*/{}, /*compute_log_sumexp=*/false,
                 /*dropout_p=*/0.0, /*is_causal=*/true));
           }},
          {"sdpa_flash", form + ", flash kernel", [q, keys, values] {
             return std::get<0>(at::_scaled_dot_product_flash_attention(
                 q, keys, values, /*dropout_p=*/0.0, /*is_causal=*/true));
           }}};
}

}  // namespace

std::vector<AttentionPeer> attention_peers(const at::Tensor& q, const at::Tensor& k,
                                           const at::Tensor& v,
                                           const std::function<void()>& before_call) {
  if (q.is_cuda()) return gpu_peers(q, k, v);
  return {fastest_sdpa(q, k, v, before_call)};
}

}  // namespace seer::bench
