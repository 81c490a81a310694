// The element types that the kernels of each device know.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "base/tensor_layout.h"

namespace seer {

// Of a tensor that messages call `name`, such as "pool_blocks: x".
inline Element element_of(const at::Tensor& tensor, const char* name) {
  const bool is_cuda = tensor.is_cuda();
  switch (tensor.scalar_type()) {
    case at::kFloat: return Element::kFloat32;
    case at::kBFloat16: return Element::kBFloat16;
    case at::kHalf:
      if (is_cuda) return Element::kFloat16;
      break;
    case at::kDouble:
      if (!is_cuda) return Element::kFloat64;
      break;
    default: break;
  }
  TORCH_CHECK(false, name, ": expected float32, bfloat16 or ",
              is_cuda ? "float16 (on CUDA)" : "float64", ", got ", tensor.scalar_type());
}

}  // namespace seer
