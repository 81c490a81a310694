// The CPU kernels of attention's backward, spread over LibTorch's threads.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "kernels/block_sparse_attention_backward/cpu.h"
#include "kernels/block_sparse_attention_backward/reference.h"
#include "ops/contiguous_rows.h"
#include "ops/cpu/output_allocator.h"
#include "ops/cpu/tiles.h"
#include "ops/prepare_attention_backward.h"

namespace seer {
namespace {

void run_reference(const AttentionBackwardParams& params) {
  for_each_tile(
      params.forward.batch * params.forward.num_kv_heads, 0,
      [&](std::int64_t unit, void*) { attention_backward_reference(params, unit, unit + 1); });
}

void run_kernel(const AttentionBackwardParams& params) {
  const CpuIsa isa = checked_cpu_isa();
  const AttentionParams& forward = params.forward;
  const std::int64_t num_rows = forward.batch * forward.num_q_heads * forward.q_len;
  const std::int64_t num_q_blocks = attention_backward_num_q_blocks(forward);
  const bool wants_sums = forward.element != Element::kFloat32;
  const at::Tensor lse2 = at::empty({num_rows}, at::kFloat);
  const at::Tensor delta = at::empty({num_rows}, at::kFloat);
  const at::Tensor grad_q = at::detail::empty_generic(
      {wants_sums ? num_rows * forward.head_dim : 0}, output_allocator(),
      c10::DispatchKeySet(c10::DispatchKey::CPU), at::kFloat, std::nullopt);
  const at::Tensor done = at::zeros({num_q_blocks}, at::kInt);
  const AttentionBackwardState state = {
      .lse2 = lse2.mutable_data_ptr<float>(),
      .delta = delta.mutable_data_ptr<float>(),
      .grad_q = wants_sums ? grad_q.mutable_data_ptr<float>() : nullptr,
      .done = done.mutable_data_ptr<std::int32_t>()};

  at::parallel_for(0, num_q_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    attention_backward_rows(params, state, isa, begin, end);
  });
  for_each_tile(attention_backward_num_tasks(forward),
                attention_backward_scratch_bytes(forward, isa),
                [&](std::int64_t task, void* scratch) {
                  attention_backward_task(params, state, isa, task, scratch);
                });
  at::parallel_for(0, num_q_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    attention_backward_finish(params, state, isa, begin, end);
  });
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> block_sparse_attention_backward_cpu(
    const at::Tensor& grad_out, const std::optional<at::Tensor>& grad_lse, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const std::optional<at::Tensor>& block_mask, std::int64_t block_size, bool is_causal,
    std::optional<double> scale) {
  const AttentionArguments forward = {.q = q,
                                      .k = k,
                                      .v = v,
                                      .block_mask = block_mask ? &*block_mask : nullptr,
                                      .block_size = block_size,
                                      .is_causal = is_causal,
                                      .scale = scale,
                                      .wants_block_map = false};
  const AttentionBackwardArguments arguments = {
      .grad_out = grad_out, .grad_lse = grad_lse, .forward = forward, .out = out, .lse = lse};
  const AttentionGradients gradients = prepare_attention_backward(arguments, output_allocator());
  if (sees_nothing(arguments)) {
    zero_gradients(gradients);
  } else {
    const std::optional<at::Tensor> plain_grad_lse =
        grad_lse ? std::optional(grad_lse->contiguous()) : std::nullopt;
    const at::Tensor plain_grad_out = with_contiguous_rows(grad_out);
    const at::Tensor plain_out = with_contiguous_rows(out);
    const at::Tensor plain_lse = lse.contiguous();
    const AttentionBackwardParams params = attention_backward_params({.grad_out = plain_grad_out,
                                                                      .grad_lse = plain_grad_lse,
                                                                      .forward = forward,
                                                                      .out = plain_out,
                                                                      .lse = plain_lse},
                                                                     gradients);
    if (params.forward.element == Element::kFloat64) {
      run_reference(params);
    } else {
      run_kernel(params);
    }
  }
  return {gradients.q, gradients.k, gradients.v};
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("block_sparse_attention_backward", &block_sparse_attention_backward_cpu);
}

}  // namespace seer
