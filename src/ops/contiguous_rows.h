#pragma once

#include <ATen/core/Tensor.h>

namespace seer {

// `tensor` itself, or a contiguous copy where its last dimension is not contiguous, as that of an expanded gradient.
inline at::Tensor with_contiguous_rows(const at::Tensor& tensor) {
  const bool contiguous = tensor.size(-1) <= 1 || tensor.stride(-1) == 1;
  return contiguous ? tensor : tensor.contiguous();
}

}  // namespace seer
