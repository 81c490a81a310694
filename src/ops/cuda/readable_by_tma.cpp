#include "ops/cuda/readable_by_tma.h"

#include <cstdint>

namespace seer {
namespace {

constexpr std::uintptr_t kAlignedBytes = 16;
constexpr std::int64_t kAlignedElements = 8;

bool is_readable_by_tma(const at::Tensor& tensor) {
  if (reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) % kAlignedBytes != 0) return false;
  for (std::int64_t dim = 0; dim < 3; ++dim) {
    const std::int64_t stride = tensor.stride(dim);
    if (tensor.size(dim) > 1 && (stride == 0 || stride % kAlignedElements != 0)) return false;
  }
  return tensor.stride(3) == 1;
}

}  // namespace

at::Tensor readable_by_tma(const at::Tensor& tensor) {
  return is_readable_by_tma(tensor) ? tensor : tensor.clone(at::MemoryFormat::Contiguous);
}

}  // namespace seer
