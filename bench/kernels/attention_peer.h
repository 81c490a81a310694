#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace seer::bench {

// LibTorch's own attention, called the fastest way that it offers for the problem.
struct AttentionPeer {
  std::string name;  // of its case: "sdpa" for the one that others are compared with
  std::string form;  // which call, and which of LibTorch's kernels it reaches
  std::function<at::Tensor()> call;
};

// Causal, aligned at the end. On the CPU one: where query heads share key/value heads, the two ways to say so
// (enable_gqa, or keys and values expanded beforehand, outside the timing) are tried and the faster
// one is kept. On a GPU two, with keys and values expanded beforehand: "sdpa" by cuDNN, and "sdpa_flash"; as many keys
// as queries. `before_call` runs before each trial.
std::vector<AttentionPeer> attention_peers(const at::Tensor& q, const at::Tensor& k,
                                           const at::Tensor& v,
                                           const std::function<void()>& before_call);

}  // namespace seer::bench
