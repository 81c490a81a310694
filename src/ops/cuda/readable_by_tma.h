// Tensors for the Tensor Memory Accelerator.
#pragma once

#include <ATen/core/Tensor.h>

namespace seer {

// A [batch, heads, length, head_dim] tensor of two-byte elements itself where its rows start at multiples of 16 bytes, which
// is what the accelerator and vector loads read, and is not expanded by a stride of 0; else a contiguous copy.
at::Tensor readable_by_tma(const at::Tensor& tensor);

}  // namespace seer
