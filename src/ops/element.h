// The element types that CPU kernels know.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "base/tensor_layout.h"

namespace seer {

// Of a tensor that messages call `name`, such as "pool_blocks: x".
inline Element element_of(const at::Tensor& tensor, const char* name) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return Element::kFloat32;
    case at::kBFloat16: return Element::kBFloat16;
    case at::kDouble: return Element::kFloat64;
    default:
      TORCH_CHECK(false, name, ": expected float32, bfloat16 or float64, got ",
                  tensor.scalar_type());
  }
}

}  // namespace seer
