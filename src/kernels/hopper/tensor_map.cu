#include "kernels/hopper/tensor_map.cuh"

#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace seer::hopper {
namespace {

// The driver's function, found at run time: nothing is linked to libcuda, so that the library also loads without it.
PFN_cuTensorMapEncodeTiled_v12000 find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess || found != cudaDriverEntryPointSuccess) {
    throw std::runtime_error(
        "CUDA: the driver has no cuTensorMapEncodeTiled: expected a driver for CUDA 12.0 or newer");
  }
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

// A stride of a dimension that is never stepped along still has to be one that the engine accepts.
cuuint64_t stride_bytes(std::int64_t length, std::int64_t stride) {
  return length > 1 ? static_cast<cuuint64_t>(stride) * 2 : 128;
}

}  // namespace

CUtensorMap make_tensor_map(const void* data, Element element, std::int64_t batch,
                            std::int64_t heads, std::int64_t length, std::int64_t head_dim,
                            const Strides& strides, int box_rows) {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = find_encode();
  constexpr int kColumns = 64;  // 128 bytes, the width of the swizzle
  const auto size = [](std::int64_t value) { return static_cast<cuuint64_t>(value); };
  const cuuint64_t sizes[] = {kColumns, size(length), size(head_dim / kColumns), size(heads),
                              size(batch)};
  const cuuint64_t byte_strides[] = {stride_bytes(length, strides.row), kColumns * 2,
                                     stride_bytes(heads, strides.head),
                                     stride_bytes(batch, strides.batch)};
  const cuuint32_t box[] = {kColumns, static_cast<cuuint32_t>(box_rows),
                            static_cast<cuuint32_t>(head_dim / kColumns), 1, 1};
  const cuuint32_t steps[] = {1, 1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result =
      encode(&map,
             element == Element::kFloat16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                          : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
             5, const_cast<void*>(data), sizes, byte_strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw std::runtime_error(
        "CUDA: cuTensorMapEncodeTiled: error " + std::to_string(result) + " for a tensor [" +
        std::to_string(batch) + ", " + std::to_string(heads) + ", " + std::to_string(length) +
        ", " + std::to_string(head_dim) + "] with strides " + std::to_string(strides.batch) + ", " +
        std::to_string(strides.head) + ", " + std::to_string(strides.row) +
        ": expected a 16-byte aligned address and strides that are multiples of 8 elements");
  }
  return map;
}

}  // namespace seer::hopper
