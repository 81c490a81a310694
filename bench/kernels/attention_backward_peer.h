#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "bench/kernels/attention_backward_check.h"

namespace seer::bench {

// The backward of LibTorch's own attention, of a forward that ran beforehand.
struct AttentionBackwardPeer {
  std::string name;  // of its case: "sdpa" for the one that others are compared with
  std::string form;  // which of LibTorch's kernels it reaches
  std::function<AttentionGradient()> call;
};

// Causal, as many keys as queries. Keys and values are expanded beforehand where query heads share them, and their
// gradients are not summed over these heads: LibTorch's kernels leave both to others. On the CPU the flash kernel; on a GPU
// "sdpa" by cuDNN, and "sdpa_flash".
std::vector<AttentionBackwardPeer> attention_backward_peers(const at::Tensor& grad_out,
                                                            const at::Tensor& q,
                                                            const at::Tensor& k,
                                                            const at::Tensor& v);

}  // namespace seer::bench
