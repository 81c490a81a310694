// An attention case of tests/support, run by the operators on the GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include "support/attention_case.h"

namespace seer::test {

// The GPU's kernel keeps scores of the block map as distances in float16: half a unit of the last place of a distance of
// up to 16, in powers of two, is 0.27 % of a probability; distances grow with the logits.
constexpr double kCoarsenessOfMap = 4e-3;

struct GpuAttentionInputs {
  at::Tensor q, k, v;     // with the strides and the alignment of the host's
  at::Tensor block_mask;  // of ones where the case has none
};

GpuAttentionInputs on_gpu(const AttentionCase& problem, const AttentionInputs& inputs);

// attention_with_block_map where the case wants a block map (it must not have a mask then), else block_sparse_attention.
AttentionResult run_on_gpu(const AttentionCase& problem, const AttentionInputs& inputs);

}  // namespace seer::test
