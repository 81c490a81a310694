#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu_isa.h"
#include "kernels/block_sparse_attention_backward/params.h"

namespace seer {

// What the three phases below share beside the parameters; the caller owns the memory. A query block is
// block_size rows of one head: index into the flattened [batch, num_q_heads, ceil(q_len / block_size)].
struct AttentionBackwardState {
  float* lse2 =
      nullptr;  // [batch, num_q_heads, q_len]: base-2 lse, +inf for a row that sees nothing
  float* delta = nullptr;  // [batch, num_q_heads, q_len]: scale * delta of params.h
  // Null where grad_q itself is float32. Else [batch, num_q_heads, q_len, head_dim]: its sums.
  float* grad_q = nullptr;
  // [query blocks], zeros at first: key blocks before this one are in grad_q of the query block.
  std::int32_t* done = nullptr;
};

inline std::int64_t attention_backward_num_q_blocks(const AttentionParams& params) {
  return params.batch * params.num_q_heads *
         ((params.q_len + params.block_size - 1) / params.block_size);
}

// Elements of all three phases: float32 and bfloat16. Each is a set of independent calls, and a phase starts when the
// one before has ended.

// Phase 1: fills lse2 and delta of the query blocks [begin, end).
void attention_backward_rows(const AttentionBackwardParams& params,
                             const AttentionBackwardState& state, CpuIsa isa, std::int64_t begin,
                             std::int64_t end);

// Phase 2: one key block with every query that sees it: writes its grad_k and grad_v, adds to grad_q. Sums into a row of
// grad_q are taken in the order of the key blocks, for which a task waits for tasks of lower index; so threads must
// start tasks in order, and one that is started must not wait for one that is not.
std::int64_t attention_backward_num_tasks(const AttentionParams& params);
// Bytes of scratch that one thread needs, 64-byte aligned; contents are irrelevant between tasks.
std::size_t attention_backward_scratch_bytes(const AttentionParams& params, CpuIsa isa);
void attention_backward_task(const AttentionBackwardParams& params,
                             const AttentionBackwardState& state, CpuIsa isa, std::int64_t task,
                             void* scratch);

// Phase 3: the query blocks [begin, end) of grad_q from their sums; zeros where no key was seen.
void attention_backward_finish(const AttentionBackwardParams& params,
                               const AttentionBackwardState& state, CpuIsa isa, std::int64_t begin,
                               std::int64_t end);

}  // namespace seer
