// The CUDA kernels of the three attention operators: one kernel call on LibTorch's current stream.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <limits>

#include "kernels/block_sparse_attention/cuda.h"
#include "ops/cuda/device_call.h"
#include "ops/prepare_attention.h"

namespace seer {
namespace {

// q and the scale as the kernel wants them: above 0. It looks for the largest q.k before it multiplies, so the sign goes
// into q, exactly; and 0 times the -infinity of a hidden key would be NaN.
struct ScaledQuery {
  at::Tensor q;
  double scale;
};

ScaledQuery with_positive_scale(const at::Tensor& q, double scale) {
  constexpr double kSmallest = std::numeric_limits<float>::min();  // float32 flushes what is below
  if (std::abs(scale) < kSmallest) return {q.mul(0), 1.0};         // NaN stays NaN
  if (scale < 0) return {q.neg(), -scale};
  return {q, scale};
}

AttentionOutputs attention_cuda_key(const char* op, const AttentionArguments& arguments) {
  AttentionOutputs outputs = prepare_attention(arguments);
  const DeviceCall call(op, arguments.q);
  if (outputs.lse.numel() == 0) return outputs;  // so is every other output

  const auto [scaled_q, scale] = with_positive_scale(arguments.q, attention_scale(arguments));
  const at::Tensor q = readable_by_tma(scaled_q);
  const at::Tensor k = readable_by_tma(arguments.k);
  const at::Tensor v = readable_by_tma(arguments.v);
  const AttentionParams params = attention_params({.q = q,
                                                   .k = k,
                                                   .v = v,
                                                   .block_mask = arguments.block_mask,
                                                   .block_size = arguments.block_size,
                                                   .is_causal = arguments.is_causal,
                                                   .scale = scale,
                                                   .wants_block_map = arguments.wants_block_map},
                                                  outputs);
  const auto workspace_bytes = static_cast<std::int64_t>(
      attention_cuda_workspace_bytes(params, call.device().num_multiprocessors));
  const at::Tensor workspace = at::empty({workspace_bytes}, q.options().dtype(at::kByte));
  attention_cuda(params, workspace.mutable_data_ptr(), call.stream());
  return outputs;
}

// Divides each row of block_map [batch, num_q_heads, q blocks, kv blocks] by its sum, in place. A row of zeros stays.
void normalize_rows(const at::Tensor& block_map) {
  at::Tensor sums = block_map.sum(-1, /*keepdim=*/true);
  sums.masked_fill_(sums.eq(0), 1);
  block_map.div_(sums);
}

std::tuple<at::Tensor, at::Tensor> block_sparse_attention_cuda_key(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  AttentionOutputs outputs = attention_cuda_key("block_sparse_attention",
                                                {.q = q,
                                                 .k = k,
                                                 .v = v,
                                                 .block_mask = block_mask ? &*block_mask : nullptr,
                                                 .block_size = block_size,
                                                 .is_causal = is_causal,
                                                 .scale = scale,
                                                 .wants_block_map = false});
  return {outputs.out, outputs.lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_with_block_map_cuda_key(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t block_size,
    bool is_causal, std::optional<double> scale) {
  AttentionOutputs outputs =
      attention_cuda_key("attention_with_block_map", {.q = q,
                                                      .k = k,
                                                      .v = v,
                                                      .block_mask = nullptr,
                                                      .block_size = block_size,
                                                      .is_causal = is_causal,
                                                      .scale = scale,
                                                      .wants_block_map = true});
  return {outputs.out, outputs.lse, outputs.block_map};
}

std::tuple<at::Tensor, at::Tensor> attn_with_pooling_cuda_key(const at::Tensor& q,
                                                              const at::Tensor& k,
                                                              const at::Tensor& v, bool is_causal,
                                                              double scale,
                                                              std::int64_t block_size) {
  auto [out, lse, block_map] =
      attention_with_block_map_cuda_key(q, k, v, block_size, is_causal, scale);
  normalize_rows(block_map);
  return {out, block_map};
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("block_sparse_attention", &block_sparse_attention_cuda_key);
  m.impl("attention_with_block_map", &attention_with_block_map_cuda_key);
  m.impl("attn_with_pooling", &attn_with_pooling_cuda_key);
}

}  // namespace seer
