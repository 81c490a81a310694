// A few rows times a matrix: cuBLAS reads the matrix at the speed of memory, so there is no kernel of our own.
#include "ops/gemv.h"

#include <ATen/ops/linear.h>
#include <torch/library.h>

#include "ops/element.h"

namespace seer {
namespace {

at::Tensor gemv_cuda_key(const at::Tensor& x, const at::Tensor& weight,
                         const std::optional<at::Tensor>& bias) {
  check_gemv(x, weight, bias);
  element_of(x, "gemv: x");  // refuses what the other devices' kernels would
  return at::linear(x, weight, bias);
}

}  // namespace

TORCH_LIBRARY_IMPL(seer, CUDA, m) {
  m.impl("gemv", &gemv_cuda_key);
}

}  // namespace seer
