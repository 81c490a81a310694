#include "ops/gate_scores.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/gate_scores/cuda.h"
#include "ops/cuda/device_call.h"

namespace seer {
namespace {

// The kernel reads the key representatives of one rank side by side (kernels/gate_scores/cuda.h). With one for each block,
// as in nearly all designs, they are so already.
at::Tensor by_rank(const at::Tensor& k_reps, std::int64_t kv_blocks, std::int64_t per_block) {
  if (per_block == 1 || k_reps.numel() == 0) return readable_by_tma(k_reps);
  at::Tensor whole = k_reps;
  // A partial last block's missing ones are replaced by its last one: the largest product stays the same.
  const std::int64_t missing = kv_blocks * per_block - k_reps.size(2);
  if (missing > 0) {
    whole =
        at::cat({k_reps, k_reps.narrow(2, k_reps.size(2) - 1, 1).expand({-1, -1, missing, -1})}, 2);
  }
  return whole.unflatten(2, {kv_blocks, per_block}).transpose(2, 3).contiguous().flatten(2, 3);
}

void check_kernel(const char* op, const GateScoresParams& params, const at::Tensor& q_reps) {
  TORCH_CHECK(
      has_gate_scores_cuda(params), op, ": q_reps of ", q_reps.scalar_type(), ", width ",
      params.width, ", ", params.block_size / params.q_tokens,
      " representatives a query block: there is no kernel on CUDA (supported: bfloat16, width "
      "64 or 128, at most 16 representatives)");
}

at::Tensor gate_block_logits_cuda_key(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                      std::int64_t q_len, std::int64_t kv_len,
                                      std::int64_t block_size, std::int64_t q_tokens,
                                      std::int64_t k_tokens, double scale) {
  const at::Tensor q = readable_by_tma(q_reps);
  PreparedGateBlockLogits prepared =
      prepare_gate_block_logits({q, k_reps, q_len, kv_len, block_size, q_tokens, k_tokens, scale});
  GateScoresParams& params = prepared.params;
  check_kernel("gate_block_logits", params, q_reps);
  if (prepared.logits.numel() == 0) return prepared.logits;
  const DeviceCall call("gate_block_logits", q_reps);
  const at::Tensor keys = by_rank(k_reps, params.num_kv_blocks(), block_size / k_tokens);
  params.k_reps = keys.const_data_ptr();
  params.k_strides = {keys.stride(0), keys.stride(1), keys.stride(2)};
  gate_scores_cuda(params, call.device().num_multiprocessors, call.stream());
  return prepared.logits;
}

at::Tensor select_gate_blocks_cuda_key(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                       std::string_view policy,
                                       const std::optional<at::Tensor>& thresholds,
                                       std::int64_t q_len, std::int64_t kv_len,
                                       std::int64_t block_size, std::int64_t q_tokens,
                                       std::int64_t k_tokens, double scale) {
  const at::Tensor q = readable_by_tma(q_reps);
  PreparedSelectGateBlocks prepared = prepare_select_gate_blocks(
      {q, k_reps, q_len, kv_len, block_size, q_tokens, k_tokens, scale}, policy, thresholds);
  GateScoresParams& scores = prepared.params.scores;
  check_kernel("select_gate_blocks", scores, q_reps);
  if (prepared.mask.numel() == 0) return prepared.mask;
  const DeviceCall call("select_gate_blocks", q_reps);
  const at::Tensor keys = by_rank(k_reps, scores.num_kv_blocks(), block_size / k_tokens);
  scores.k_reps = keys.const_data_ptr();
  scores.k_strides = {keys.stride(0), keys.stride(1), keys.stride(2)};
  const int num_multiprocessors = call.device().num_multiprocessors;
  const at::Tensor workspace =
      at::empty({static_cast<std::int64_t>(
                    select_gate_blocks_cuda_workspace_bytes(prepared.params, num_multiprocessors))},
                q_reps.options().dtype(at::kByte));
  select_gate_blocks_cuda(prepared.params, workspace.mutable_data_ptr(), num_multiprocessors,
                          call.stream());
  return prepared.mask;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("gate_block_logits", &gate_block_logits_cuda_key);
  m.impl("select_gate_blocks", &select_gate_blocks_cuda_key);
}

}  // namespace seer
