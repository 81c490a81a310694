// Operators whose tensors lie on different devices would read memory that is not theirs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace seer {

// `name` is the tensor's in messages, such as "rms_norm: weight"; `x` is the argument that all others stand beside.
inline void check_same_device(const at::Tensor& tensor, const char* name, const at::Tensor& x,
                              const char* x_name) {
  TORCH_CHECK(tensor.device() == x.device(), name, ": expected device ", x.device(), " (as ",
              x_name, "), got ", tensor.device());
}

}  // namespace seer
