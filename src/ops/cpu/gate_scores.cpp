#include "ops/gate_scores.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "kernels/gate_scores/reference.h"

namespace seer {
namespace {

at::Tensor gate_block_logits_cpu_key(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                     std::int64_t q_len, std::int64_t kv_len,
                                     std::int64_t block_size, std::int64_t q_tokens,
                                     std::int64_t k_tokens, double scale) {
  const PreparedGateBlockLogits prepared = prepare_gate_block_logits(
      {q_reps, k_reps, q_len, kv_len, block_size, q_tokens, k_tokens, scale});
  if (prepared.logits.numel() == 0) return prepared.logits;
  const GateScoresParams& params = prepared.params;
  at::parallel_for(
      0, params.batch * params.heads * params.num_q_blocks(), 1,
      [&](std::int64_t begin, std::int64_t end) { gate_scores_reference(params, begin, end); });
  return prepared.logits;
}

at::Tensor select_gate_blocks_cpu_key(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                      std::string_view policy,
                                      const std::optional<at::Tensor>& thresholds,
                                      std::int64_t q_len, std::int64_t kv_len,
                                      std::int64_t block_size, std::int64_t q_tokens,
                                      std::int64_t k_tokens, double scale) {
  const PreparedSelectGateBlocks prepared = prepare_select_gate_blocks(
      {q_reps, k_reps, q_len, kv_len, block_size, q_tokens, k_tokens, scale}, policy, thresholds);
  if (prepared.mask.numel() == 0) return prepared.mask;
  const GateScoresParams& scores = prepared.params.scores;
  at::parallel_for(0, scores.batch * scores.heads * scores.num_q_blocks(), 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     select_gate_blocks_reference(prepared.params, begin, end);
                   });
  return prepared.mask;
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CPU, m) {
  m.impl("gate_block_logits", &gate_block_logits_cpu_key);
  m.impl("select_gate_blocks", &select_gate_blocks_cpu_key);
}

}  // namespace seer
