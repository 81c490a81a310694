// The CPU kernels of the three attention operators: one kernel call, spread over LibTorch's
// threads.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <numeric>
#include <span>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention/cpu.h"
#include "kernels/block_sparse_attention/reference.h"
#include "ops/cpu/output_allocator.h"
#include "ops/cpu/tiles.h"
#include "ops/prepare_attention.h"

namespace seer {
namespace {

void run_reference(const AttentionParams& params) {
  const std::int64_t num_tiles =
      params.batch * params.num_q_heads * ceil_div(params.q_len, params.block_size);
  for_each_tile(num_tiles, 0,
                [&](std::int64_t tile, void*) { attention_reference(params, tile, tile + 1); });
}

void run_kernel(const AttentionParams& params) {
  const CpuIsa isa = checked_cpu_isa();
  for_each_tile(
      attention_num_tiles(params, isa), attention_scratch_bytes(params, isa),
      [&](std::int64_t tile, void* scratch) { attention_tile(params, isa, tile, scratch); });
}

AttentionOutputs attention_cpu(const AttentionArguments& arguments) {
  AttentionOutputs outputs = prepare_attention(arguments, output_allocator());
  if (outputs.lse.numel() == 0) return outputs;  // so is every other output
  const AttentionParams params = attention_params(arguments, outputs);
  if (params.element == Element::kFloat64) {
    run_reference(params);
  } else {
    run_kernel(params);
  }
  return outputs;
}

// Divides each row of block_map [batch, num_q_heads, q blocks, kv blocks] by its sum, in place. A
// row of zeros stays.
void normalize_rows(const at::Tensor& block_map) {
  const std::int64_t row_length = block_map.size(3);
  if (block_map.numel() == 0) return;
  auto* const map = block_map.mutable_data_ptr<float>();
  constexpr std::int64_t kElementsWorthAThread = 1 << 15;
  at::parallel_for(0, block_map.numel() / row_length, ceil_div(kElementsWorthAThread, row_length),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t row = begin; row < end; ++row) {
                       const std::span<float> entries(map + row * row_length, row_length);
                       const double sum = std::accumulate(entries.begin(), entries.end(), 0.0);
                       if (sum == 0) continue;
                       for (float& entry : entries) entry = static_cast<float>(entry / sum);
                     }
                   });
}

std::tuple<at::Tensor, at::Tensor> block_sparse_attention_cpu(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  AttentionOutputs outputs = attention_cpu({.q = q,
                                            .k = k,
                                            .v = v,
                                            .block_mask = block_mask ? &*block_mask : nullptr,
                                            .block_size = block_size,
                                            .is_causal = is_causal,
                                            .scale = scale,
                                            .wants_block_map = false});
  return {outputs.out, outputs.lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_with_block_map_cpu(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t block_size,
    bool is_causal, std::optional<double> scale) {
  AttentionOutputs outputs = attention_cpu({.q = q,
                                            .k = k,
                                            .v = v,
                                            .block_mask = nullptr,
                                            .block_size = block_size,
                                            .is_causal = is_causal,
                                            .scale = scale,
                                            .wants_block_map = true});
  return {outputs.out, outputs.lse, outputs.block_map};
}

std::tuple<at::Tensor, at::Tensor> attn_with_pooling_cpu(const at::Tensor& q, const at::Tensor& k,
                                                         const at::Tensor& v, bool is_causal,
                                                         double scale, std::int64_t block_size) {
  auto [out, lse, block_map] = attention_with_block_map_cpu(q, k, v, block_size, is_causal, scale);
  normalize_rows(block_map);
  return {out, block_map};
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("block_sparse_attention", &block_sparse_attention_cpu);
  m.impl("attention_with_block_map", &attention_with_block_map_cpu);
  m.impl("attn_with_pooling", &attn_with_pooling_cpu);
}

}  // namespace seer
