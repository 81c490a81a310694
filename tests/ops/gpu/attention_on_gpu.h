// An attention case of tests/support, run by the operators on the GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include "support/attention_case.h"

namespace seer::test {

struct GpuAttentionInputs {
  at::Tensor q, k, v;     // with the strides and the alignment of the host's
  at::Tensor block_mask;  // of ones where the case has none
};

GpuAttentionInputs on_gpu(const AttentionCase& problem, const AttentionInputs& inputs);

// attention_with_block_map where the case wants a block map (it must not have a mask then), else block_sparse_attention.
AttentionResult run_on_gpu(const AttentionCase& problem, const AttentionInputs& inputs);

}  // namespace seer::test
